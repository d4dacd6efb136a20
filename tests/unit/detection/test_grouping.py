"""Grouping assigns each match to exactly one alert, whatever the order and the pages."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from oktawatch.detection.grouping import Grouping, GroupingPolicy, NoticeKind
from oktawatch.model.alert import AlertStatus
from oktawatch.model.match import Match
from oktawatch.model.severity import Severity
from tests.support.grouping import PERIOD, RULE, Memory, cut_streams, match, streams
from tests.unit.detection.events import NOON


def anchors(times: Sequence[datetime]) -> list[datetime]:
    """Return the anchors of plain anchored grouping for sorted times."""
    found: list[datetime] = []
    for moment in times:
        if not found or moment >= found[-1] + PERIOD:
            found.append(moment)
    return found


@given(streams)
def test_every_match_is_in_exactly_one_alert(stream: list[Match]) -> None:
    """The counts of the alerts add up to the matches, and each match has its alert."""
    memory = Memory()
    memory.page(stream)
    assert sum(alert.event_count for alert in memory.alerts) == len(stream) == len(memory.recorded)
    assert None not in memory.recorded.values()


@given(streams)
def test_input_in_order_is_grouped_by_anchors(stream: list[Match]) -> None:
    """Sorted by time, each alert starts at the first match D or more after the last anchor."""
    stream = sorted(stream, key=lambda one: one.published)
    memory = Memory()
    memory.page(stream)
    for key in "ab":
        times = [one.published for one in stream if one.dedup_key == key]
        assert sorted(a.anchor for a in memory.alerts if a.dedup_key == key) == anchors(times)


@given(streams)
def test_disorder_merges_at_most_half_of_the_alerts(stream: list[Match]) -> None:
    """Events in any order form at most as many alerts as in order, and at least half as many."""
    disordered, ordered = Memory(), Memory()
    disordered.page(stream)
    ordered.page(sorted(stream, key=lambda one: one.published))
    assert len(ordered.alerts) <= 2 * len(disordered.alerts)
    assert len(disordered.alerts) <= len(ordered.alerts)


@given(cut_streams(), st.integers(1, 4))
def test_page_boundaries_change_no_alert(
    drawn: tuple[list[Match], list[list[Match]]], threshold: int
) -> None:
    """The page boundaries don't change the rows."""
    stream, pages = drawn
    whole, cut = Memory(threshold=threshold), Memory(threshold=threshold)
    whole.page(stream)
    for page in pages:
        cut.page(page)
    assert cut.rows() == whole.rows()
    assert cut.notices == whole.notices


@given(cut_streams(), st.data())
def test_reading_again_changes_nothing(
    drawn: tuple[list[Match], list[list[Match]]], data: st.DataObject
) -> None:
    """A page that is read a second time finds its matches recorded."""
    _, pages = drawn
    memory = Memory()
    for page in pages:
        memory.page(page)
    rows, notices, recorded = memory.rows(), list(memory.notices), dict(memory.recorded)
    memory.page(data.draw(st.sampled_from([*pages, []])))
    assert (memory.rows(), memory.notices, memory.recorded) == (rows, notices, recorded)


@given(streams)
def test_alerts_of_one_key_have_different_anchors(stream: list[Match]) -> None:
    """Key and anchor identify an alert, so that a notification's id can be derived from them."""
    memory = Memory()
    memory.page(stream)
    assert len({(a.dedup_key, a.anchor) for a in memory.alerts}) == len(memory.alerts)


@given(streams, st.lists(st.booleans(), min_size=25, max_size=25))
def test_alerts_of_a_silent_backfill_are_notified_by_the_next_reader(
    stream: list[Match], notifies: list[bool]
) -> None:
    """After a notifying reader has read all, each alert has been notified at its severity, and no two notices have one id."""
    memory = Memory()
    for match_of_page, notify in zip(stream, notifies, strict=False):
        memory.page([match_of_page], notify=notify)
    memory.page(stream)
    assert all(alert.told == alert.severity for alert in memory.alerts)
    identities = [(n.alert.id, n.kind, n.severity, n.again) for n in memory.sent]
    assert len(set(identities)) == len(identities)
    for alert in memory.alerts:
        kinds = [kind for alert_id, kind, _ in memory.notices if alert_id == alert.id]
        assert kinds == [NoticeKind.OPENED, *[NoticeKind.RAISED] * (len(kinds) - 1)]


def test_a_silent_backfill_sends_no_notices() -> None:
    """A backfill without --notify records and groups matches, and sends no notices."""
    memory = Memory()
    memory.page([match(1, timedelta())], notify=False)
    assert memory.notices == []
    assert memory.alerts[0].told is None


def test_a_match_joins_until_the_end_of_the_period() -> None:
    """A match after 5 h 59 min joins, one after 6 h opens an alert, and one after 6 h 01 min joins the second alert."""
    memory = Memory()
    minutes = (0, 359, 360, 361)
    memory.page([match(n, timedelta(minutes=at)) for n, at in enumerate(minutes)])
    assert [alert.event_count for alert in memory.alerts] == [2, 2]


def test_steady_matches_open_an_alert_each_period() -> None:
    """The period starts at the first match and does not move with later ones."""
    memory = Memory()
    memory.page([match(n, timedelta(hours=3 * n)) for n in range(6)])
    assert [alert.event_count for alert in memory.alerts] == [2, 2, 2]


def test_a_late_match_joins_the_alert_after_it() -> None:
    """A late match changes first_event_at, but not the anchor."""
    memory = Memory()
    memory.page([match(1, timedelta(hours=4)), match(2, timedelta())])
    (alert,) = memory.alerts
    assert (alert.anchor, alert.first_event_at) == (NOON + timedelta(hours=4), NOON)


def test_a_closed_alert_covers_only_earlier_matches() -> None:
    """A match after the closing opens another alert, and a match before it joins without a notice."""
    memory = Memory()
    memory.page([match(1, timedelta(), severity=Severity.INFO)])
    (alert,) = memory.alerts
    alert.status, alert.closed_at = AlertStatus.CLOSED, NOON + timedelta(hours=2)
    memory.page([match(2, timedelta(hours=1), severity=Severity.HIGH)])
    assert (alert.event_count, alert.status, alert.severity) == (2, AlertStatus.CLOSED, Severity.HIGH)
    assert len(memory.notices) == 1
    memory.page([match(3, timedelta(hours=3))])
    assert len(memory.alerts) == 2


def test_below_the_threshold_an_alert_is_pending() -> None:
    """Below the threshold, an alert is pending, and the match that reaches it opens and notifies it."""
    memory = Memory(threshold=3)
    memory.page([match(1, timedelta()), match(2, timedelta())])
    assert [alert.status for alert in memory.alerts] == [AlertStatus.PENDING]
    assert memory.notices == []
    memory.page([match(3, timedelta())])
    assert [alert.status for alert in memory.alerts] == [AlertStatus.OPEN]
    assert memory.notices == [(1, NoticeKind.OPENED, Severity.MEDIUM)]


def test_a_signal_is_recorded_and_makes_no_alert() -> None:
    """A signal is recorded and raises no alert."""
    grouping = Grouping({RULE: GroupingPolicy(PERIOD, 1, signal=True)}, recorded={}, alerts=[], notify=True)
    grouping.add(match(1, timedelta()))
    grouping.add(match(1, timedelta()))
    assert [(new.event_uuid, alert) for new, alert in grouping.new] == [("e-1", None)]
    assert (grouping.opened, grouping.notices) == ([], [])


@given(streams)
def test_an_alert_counts_the_outcomes_of_its_events(stream: list[Match]) -> None:
    """Successes and failures add up over the alerts, with the times of the earliest of each."""
    memory = Memory()
    memory.page(stream)
    assert sum(alert.successes for alert in memory.alerts) == sum(one.event.succeeded for one in stream)
    assert sum(alert.failures for alert in memory.alerts) == sum(one.event.failed for one in stream)
    for alert in memory.alerts:
        of_alert = [one for one in stream if memory.recorded[one.key] == alert.id]
        assert alert.succeeded_at == min((m.published for m in of_alert if m.event.succeeded), default=None)
        assert alert.failed_at == min((m.published for m in of_alert if m.event.failed), default=None)
