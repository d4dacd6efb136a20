"""Properties of grouping and its notices."""

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from oktawatch.detection.grouping import Grouping, GroupingPolicy, Notice, NoticeKind
from oktawatch.model.alert import Alert, AlertStatus
from oktawatch.model.match import AlertDetails, Match, MatchedEvent, MatchKey
from oktawatch.model.severity import Severity
from tests.unit.detection.events import NOON

PERIOD = timedelta(hours=6)
RULE = "Example.Rule"
OUTCOMES = ("SUCCESS", "ALLOW", "FAILURE", "DENY", "CHALLENGE", None)


def match(
    number: int,
    at: timedelta,
    *,
    key: str = "k",
    severity: Severity = Severity.MEDIUM,
    outcome: str | None = None,
) -> Match:
    """Build the match of event ``number``, ``at`` after noon."""
    return Match(
        rule_id=RULE,
        event_uuid=f"e-{number}",
        published=NOON + at,
        dedup_key=key,
        severity=severity,
        event=MatchedEvent(outcome=outcome),
        details=lambda: AlertDetails(title=f"{outcome} of e-{number}", context={}),
    )


class Memory:
    """An in-memory store for grouping pages."""

    def __init__(self, *, threshold: int = 1, raise_on_success: bool = True) -> None:
        self.policy = GroupingPolicy(PERIOD, threshold, raise_on_success=raise_on_success)
        self.alerts: list[Alert] = []
        self.recorded: dict[MatchKey, int | None] = {}
        self.sent: list[Notice] = []

    def page(self, matches: Sequence[Match], *, notify: bool = True) -> None:
        """Group one page and store the result."""
        grouping = Grouping(
            {RULE: self.policy}, recorded=dict(self.recorded), alerts=self.alerts, notify=notify
        )
        for one in matches:
            grouping.add(one)
        for alert in grouping.opened:
            alert.id = len(self.alerts) + 1
            self.alerts.append(alert)
        self.recorded |= {new.key: alert.id for new, alert in grouping.new if alert}
        self.sent += grouping.notices

    @property
    def notices(self) -> list[tuple[int | None, NoticeKind, Severity]]:
        """The alert, kind and severity of each notice."""
        return [(notice.alert.id, notice.kind, notice.severity) for notice in self.sent]

    def rows(self) -> list[tuple[object, ...]]:
        """Return the alerts as rows, in an order that does not depend on the order of events."""
        return [
            (
                *(
                    a.dedup_key,
                    a.anchor,
                    a.event_count,
                    a.first_event_at,
                    a.last_event_at,
                    a.severity,
                    a.status,
                ),
                *(a.successes, a.failures, a.succeeded_at, a.failed_at, a.risen, a.title),
            )
            for a in sorted(self.alerts, key=lambda alert: (alert.dedup_key, alert.anchor))
        ]


# Times on a coarse grid make equal times and exact borders of the period likely.
streams = st.lists(
    st.tuples(
        st.integers(0, 60), st.sampled_from("ab"), st.sampled_from(Severity), st.sampled_from(OUTCOMES)
    ),
    max_size=25,
).map(
    lambda stream: [
        match(number, timedelta(hours=1) * at, key=key, severity=severity, outcome=outcome)
        for number, (at, key, severity, outcome) in enumerate(stream)
    ]
)


@st.composite
def cut_streams(draw: st.DrawFn) -> tuple[list[Match], list[list[Match]]]:
    """Draw a stream, and the same stream cut into pages."""
    stream = draw(streams)
    cuts = sorted(draw(st.sets(st.integers(0, len(stream)), max_size=6)))
    borders = [0, *cuts, len(stream)]
    return stream, [stream[a:b] for a, b in itertools.pairwise(borders)]


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


def test_a_more_severe_match_raises_the_alert_and_is_notified() -> None:
    """A MEDIUM match of an INFO alert raises its severity, and a second notice is sent."""
    memory = Memory()
    memory.page([match(1, timedelta(), severity=Severity.INFO)])
    memory.page(
        [match(2, timedelta(), severity=Severity.MEDIUM), match(3, timedelta(), severity=Severity.LOW)]
    )
    assert memory.alerts[0].severity is Severity.MEDIUM
    assert memory.notices == [
        (1, NoticeKind.OPENED, Severity.INFO),
        (1, NoticeKind.RAISED, Severity.MEDIUM),
    ]


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


@given(streams)
def test_a_success_after_a_failure_raises_an_alert(
    stream: list[Match],
) -> None:
    """A success after a failure raises an alert of MEDIUM or above by one level."""
    memory = Memory()
    memory.page(sorted(stream, key=lambda one: one.published))
    for alert in memory.alerts:
        of_alert = [one for one in stream if memory.recorded[one.key] == alert.id]
        highest = max(one.severity for one in of_alert)
        failed, succeeded = alert.failed_at, alert.succeeded_at
        assert alert.risen == (failed is not None and succeeded is not None and failed < succeeded)
        rises = alert.risen and highest >= Severity.MEDIUM
        assert alert.severity == (highest.raised() if rises else highest)


@given(streams)
def test_a_risen_alert_stays_risen(stream: list[Match]) -> None:
    """No later match lowers a raised alert."""
    memory = Memory()
    for one in stream:
        before = {alert.id: (alert.severity, alert.risen) for alert in memory.alerts}
        memory.page([one])
        for alert in memory.alerts:
            severity, risen = before.get(alert.id, (Severity.INFO, False))
            assert alert.severity >= severity
            assert alert.risen or not risen


@given(streams)
def test_without_raise_on_success_severities_are_those_of_the_matches(stream: list[Match]) -> None:
    """Without the option, an alert has the highest severity of its matches, and outcomes are still counted."""
    memory = Memory(raise_on_success=False)
    memory.page(stream)
    for alert in memory.alerts:
        assert alert.severity == max(one.severity for one in stream if memory.recorded[one.key] == alert.id)
        assert not alert.risen


def test_the_first_success_after_failures_is_notified_once_with_a_new_title() -> None:
    """The first success after failures is notified once as raised, with a new title."""
    memory = Memory()
    failures = [match(n, timedelta(minutes=n), outcome="FAILURE") for n in range(3)]
    successes = [match(n, timedelta(minutes=n), outcome="SUCCESS") for n in (3, 4)]
    memory.page(failures)
    memory.page(successes)
    memory.page([*failures, *successes])
    assert memory.notices == [
        (1, NoticeKind.OPENED, Severity.MEDIUM),
        (1, NoticeKind.RAISED, Severity.HIGH),
    ]
    (alert,) = memory.alerts
    assert (alert.successes, alert.failures, alert.risen) == (2, 3, True)
    assert alert.succeeded_at == NOON + timedelta(minutes=3)
    assert alert.title == "SUCCESS of e-3"


def test_a_success_before_the_failures_raises_nothing() -> None:
    """An alert whose first outcome is a success is not raised."""
    memory = Memory()
    memory.page([match(1, timedelta(), outcome="SUCCESS"), match(2, timedelta(minutes=1), outcome="FAILURE")])
    assert memory.alerts[0].severity is Severity.MEDIUM
    assert memory.alerts[0].title is None


def test_a_late_success_before_the_failures_raises_nothing() -> None:
    """An alert does not rise if its earliest outcome is a success, even one that arrives late."""
    memory = Memory()
    memory.page([match(2, timedelta(minutes=1), outcome="FAILURE"), match(1, timedelta(), outcome="SUCCESS")])
    assert (memory.alerts[0].risen, memory.alerts[0].severity) == (False, Severity.MEDIUM)


def test_an_info_alert_rises_only_with_a_more_severe_match() -> None:
    """A success after a failure does not raise an INFO alert until a MEDIUM match joins it."""
    memory = Memory()
    memory.page(
        [
            match(1, timedelta(), severity=Severity.INFO, outcome="FAILURE"),
            match(2, timedelta(minutes=1), severity=Severity.INFO, outcome="SUCCESS"),
        ]
    )
    severities = [memory.alerts[0].severity]
    memory.page([match(3, timedelta(minutes=2), outcome="FAILURE")])
    severities.append(memory.alerts[0].severity)
    assert severities == [Severity.INFO, Severity.HIGH]


def critical(number: int, outcome: str, severity: Severity = Severity.CRITICAL) -> Match:
    """Build a match that is CRITICAL by default, ``number`` minutes after noon."""
    return match(number, timedelta(minutes=number), severity=severity, outcome=outcome)


CRITICAL_OPENED = (1, NoticeKind.OPENED, Severity.CRITICAL)
CRITICAL_RAISED = (1, NoticeKind.RAISED, Severity.CRITICAL)


def test_the_first_success_of_a_critical_alert_is_notified_once() -> None:
    """A success after failures can't raise a CRITICAL alert, but a notice is sent, once."""
    memory = Memory()
    memory.page([critical(1, "FAILURE"), critical(2, "FAILURE")])
    assert memory.notices == [CRITICAL_OPENED]
    memory.page([critical(3, "SUCCESS"), critical(4, "SUCCESS"), critical(5, "FAILURE")])
    memory.page([critical(3, "SUCCESS"), critical(1, "FAILURE")])
    assert memory.alerts[0].severity is Severity.CRITICAL
    assert memory.notices == [CRITICAL_OPENED, CRITICAL_RAISED]
    assert [notice.again for notice in memory.sent] == [False, True]


def test_an_alert_raised_to_critical_by_a_failure_is_notified_of_its_success() -> None:
    """The notice of the success differs from the notice of the failure that raised the alert to CRITICAL."""
    memory = Memory()
    memory.page([critical(1, "FAILURE", Severity.HIGH), critical(2, "FAILURE"), critical(3, "SUCCESS")])
    assert memory.notices == [(1, NoticeKind.OPENED, Severity.HIGH), CRITICAL_RAISED, CRITICAL_RAISED]
    assert [notice.again for notice in memory.sent] == [False, False, True]


def test_a_silent_backfill_does_not_suppress_the_success_of_a_critical_alert() -> None:
    """A success that a backfill without notifications recorded is notified by the next reader of the alert."""
    memory = Memory()
    memory.page([critical(1, "FAILURE", Severity.HIGH), critical(2, "FAILURE")])
    memory.page([critical(3, "SUCCESS")], notify=False)
    assert memory.notices[1:] == [CRITICAL_RAISED]
    memory.page([critical(2, "FAILURE")])
    memory.page([critical(3, "SUCCESS")])
    assert memory.notices[1:] == [CRITICAL_RAISED, CRITICAL_RAISED]
    assert [notice.again for notice in memory.sent] == [False, False, True]


def test_a_critical_alert_without_earlier_failures_is_notified_once() -> None:
    """A success is not notified again if it opened the alert, or if the option is off."""
    memory = Memory()
    memory.page([critical(1, "SUCCESS"), critical(2, "FAILURE"), critical(3, "SUCCESS")])
    assert memory.notices == [CRITICAL_OPENED]
    memory = Memory(raise_on_success=False)
    memory.page([critical(1, "FAILURE"), critical(2, "SUCCESS")])
    assert memory.notices == [CRITICAL_OPENED]
