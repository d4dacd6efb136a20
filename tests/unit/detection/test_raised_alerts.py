"""A more severe match or a success after failures raises an alert, and is notified once."""

from datetime import timedelta

from hypothesis import given

from oktawatch.detection.grouping import NoticeKind
from oktawatch.model.match import Match
from oktawatch.model.severity import Severity
from tests.support.grouping import Memory, match, streams
from tests.unit.detection.events import NOON


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
