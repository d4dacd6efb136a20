"""The other notifiers get an alarm about a notifier that loses a message or fails for long, and one message at the end."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.model.notification import AlarmState
from oktawatch.model.notifier_health import NotifierHealth
from oktawatch.notify.escalation import REPEAT_AFTER, Escalation
from tests.support.databases import NOW

AFTER = timedelta(minutes=15)
OTHERS = Escalation(names=("pager", "mail"), after=AFTER)
HEALTHY = NotifierHealth()


def test_a_lost_message_raises_an_alarm() -> None:
    """The first dead letter raises an alarm at once."""
    change = OTHERS.on_failure(HEALTHY, error="status 410", lost=True, now=NOW)

    assert (change.alarm, change.since, change.notifiers) == (AlarmState.RAISED, NOW, ("pager", "mail"))
    assert change.health == NotifierHealth(failing_since=NOW, last_error="status 410", told_at=NOW)


@pytest.mark.parametrize(
    ("lasted", "alarm"), [(AFTER - timedelta(seconds=1), None), (AFTER, AlarmState.RAISED)]
)
def test_a_long_outage_raises_an_alarm(lasted: timedelta, alarm: AlarmState | None) -> None:
    """An outage that lasts raises an alarm, with or without another attempt. It began with the first failure."""
    failing = OTHERS.on_failure(HEALTHY, error="status 503", lost=False, now=NOW).health
    later = OTHERS.on_failure(failing, error="status 502", lost=False, now=NOW + lasted)

    assert later.alarm is OTHERS.on_check(failing, now=NOW + lasted).alarm is alarm
    assert (later.health.failing_since, later.health.last_error) == (NOW, "status 502")


def test_an_outage_has_one_alarm_and_one_end() -> None:
    """An outage raises one alarm, and the first delivery ends it once."""
    alarmed = OTHERS.on_failure(HEALTHY, error="no", lost=True, now=NOW).health
    again = OTHERS.on_failure(alarmed, error="no", lost=True, now=NOW + 2 * REPEAT_AFTER)
    over = OTHERS.on_success(again.health, now=NOW)

    assert again.alarm is None
    assert (over.alarm, over.since) == (AlarmState.OVER, NOW)
    assert OTHERS.on_success(over.health, now=NOW).alarm is None


def test_an_outage_without_an_alarm_ends_without_a_message() -> None:
    """An outage without an alarm ends without a message."""
    failing = OTHERS.on_failure(HEALTHY, error="no", lost=False, now=NOW).health

    assert OTHERS.on_success(failing, now=NOW).alarm is None


def test_a_long_error_is_cut() -> None:
    """The length of a stored error is limited, because a receiver can send any text."""
    change = OTHERS.on_failure(HEALTHY, error="x" * 5_000, lost=False, now=NOW)

    assert len(change.health.last_error or "") == 1_000


def test_times_in_the_future_count_as_now() -> None:
    """Times from a clock that was ahead do not delay a later alarm."""
    ahead = NOW + timedelta(days=1)
    dated = OTHERS.on_failure(HEALTHY, error="no", lost=True, now=ahead).health
    failing = OTHERS.on_failure(dated, error="no", lost=False, now=NOW).health
    healthy = OTHERS.on_success(dated, now=NOW).health

    assert failing.failing_since == NOW
    assert healthy.told_at == NOW


@given(
    st.lists(
        st.tuples(st.sampled_from(("lost", "failed", "delivered", "time")), st.integers(1, 90)), max_size=60
    )
)
def test_alarms_alternate_and_keep_their_distance(steps: list[tuple[str, int]]) -> None:
    """Each alarm ends before the next one, and two alarms are at least an hour apart."""
    health, now, alarms = HEALTHY, NOW, []
    for step, minutes in steps:
        now += timedelta(minutes=minutes)
        if step == "delivered":
            change = OTHERS.on_success(health, now=now)
        elif step == "time":
            change = OTHERS.on_check(health, now=now)
        else:
            change = OTHERS.on_failure(health, error="no", lost=step == "lost", now=now)
        health = change.health
        if change.alarm is not None:
            alarms.append((change.alarm, now))

    assert [alarm for alarm, _ in alarms] == [AlarmState.RAISED, AlarmState.OVER] * (len(alarms) // 2) + [
        AlarmState.RAISED
    ] * (len(alarms) % 2)
    raised = [at for alarm, at in alarms if alarm is AlarmState.RAISED]
    assert all(second - first >= REPEAT_AFTER for first, second in pairwise(raised))
