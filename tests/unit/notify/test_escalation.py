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
WELL = NotifierHealth()


def test_a_lost_message_is_told_at_once() -> None:
    """The first dead letter raises an alarm at once."""
    change = OTHERS.on_failure(WELL, error="status 410", lost=True, now=NOW)

    assert (change.alarm, change.since, change.notifiers) == (AlarmState.RAISED, NOW, ("pager", "mail"))
    assert change.health == NotifierHealth(failing_since=NOW, last_error="status 410", told_at=NOW)


@pytest.mark.parametrize(
    ("lasted", "alarm"), [(AFTER - timedelta(seconds=1), None), (AFTER, AlarmState.RAISED)]
)
def test_trouble_is_told_when_it_lasts(lasted: timedelta, alarm: AlarmState | None) -> None:
    """At its age, whether another attempt fails or only time passes; its beginning stays the first failure."""
    failing = OTHERS.on_failure(WELL, error="status 503", lost=False, now=NOW).health
    later = OTHERS.on_failure(failing, error="status 502", lost=False, now=NOW + lasted)

    assert later.alarm is OTHERS.on_check(failing, now=NOW + lasted).alarm is alarm
    assert (later.health.failing_since, later.health.last_error) == (NOW, "status 502")


def test_it_is_told_once_and_its_end_once() -> None:
    """An outage raises one alarm, and the first delivery ends it once."""
    told = OTHERS.on_failure(WELL, error="no", lost=True, now=NOW).health
    again = OTHERS.on_failure(told, error="no", lost=True, now=NOW + 2 * REPEAT_AFTER)
    over = OTHERS.on_success(again.health, now=NOW)

    assert again.alarm is None
    assert (over.alarm, over.since) == (AlarmState.OVER, NOW)
    assert OTHERS.on_success(over.health, now=NOW).alarm is None


def test_the_end_of_trouble_that_was_not_told_is_not_told() -> None:
    """An outage without an alarm ends without a message."""
    failing = OTHERS.on_failure(WELL, error="no", lost=False, now=NOW).health

    assert OTHERS.on_success(failing, now=NOW).alarm is None


def test_an_error_is_kept_short() -> None:
    """A receiver decides nothing about the size of a row."""
    change = OTHERS.on_failure(WELL, error="x" * 5_000, lost=False, now=NOW)

    assert len(change.health.last_error or "") == 1_000


def test_times_of_a_clock_that_ran_ahead_count_as_now() -> None:
    """Times from a clock that was ahead do not delay a later alarm."""
    ahead = NOW + timedelta(days=1)
    dated = OTHERS.on_failure(WELL, error="no", lost=True, now=ahead).health
    failing = OTHERS.on_failure(dated, error="no", lost=False, now=NOW).health
    well = OTHERS.on_success(dated, now=NOW).health

    assert failing.failing_since == NOW
    assert well.told_at == NOW


@given(
    st.lists(st.tuples(st.sampled_from(("lost", "failed", "taken", "time")), st.integers(1, 90)), max_size=60)
)
def test_alarms_alternate_and_keep_their_distance(steps: list[tuple[str, int]]) -> None:
    """Each alarm ends before the next one, and two alarms are at least an hour apart."""
    health, now, told = WELL, NOW, []
    for step, minutes in steps:
        now += timedelta(minutes=minutes)
        if step == "taken":
            change = OTHERS.on_success(health, now=now)
        elif step == "time":
            change = OTHERS.on_check(health, now=now)
        else:
            change = OTHERS.on_failure(health, error="no", lost=step == "lost", now=now)
        health = change.health
        if change.alarm is not None:
            told.append((change.alarm, now))

    assert [alarm for alarm, _ in told] == [AlarmState.RAISED, AlarmState.OVER] * (len(told) // 2) + [
        AlarmState.RAISED
    ] * (len(told) % 2)
    raised = [at for alarm, at in told if alarm is AlarmState.RAISED]
    assert all(second - first >= REPEAT_AFTER for first, second in pairwise(raised))
