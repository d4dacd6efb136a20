"""A summary counts every alert once in each of its parts."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.model.alert_fact import AlertFact
from oktawatch.model.severity import Severity
from oktawatch.report.summary import TOP, Advice, RuleVerdicts, Summary, anonymizer, summarize
from tests.unit.report.facts import SINCE, UNTIL, fact, month

DAY = timedelta(days=1)


def summary_of(*facts: AlertFact) -> Summary:
    """Return the summary of these alerts."""
    return summarize(facts, since=SINCE, until=UNTIL)


def test_the_counts_of_a_month_add_up() -> None:
    """The counts by day, severity, hour and rule add up to all alerts, and every day of the period has a span."""
    facts = month()
    summary = summary_of(*facts)
    assert summary.alerts == len(facts)
    assert sum(span.total for span in summary.spans) == len(facts)
    assert sum(summary.severities.values()) == sum(summary.hours) == len(facts)
    assert sum(rule.alerts for rule in summary.rules) == len(facts)
    assert summary.events == sum(one.event_count for one in facts)
    assert (
        summary.got_in
        == sum(span.got_in for span in summary.spans)
        == sum(one.successes > 0 for one in facts)
    )
    assert [span.begin for span in summary.spans] == [
        date(2026, 10, 3) + number * DAY for number in range(31)
    ]
    assert len(summary.top_people) == TOP
    assert summary.top_people == sorted(summary.top_people, key=lambda bar: (-bar.alerts, bar.label))


def test_a_bar_counts_people_and_successes() -> None:
    """A person with two alerts counts once, and the bar has the highest severity."""
    summary = summary_of(
        fact(1, severity=Severity.LOW),
        fact(2, severity=Severity.HIGH, successes=2),
        fact(3, actor_id="00u2", actor_alternate_id="eve@example.com", country=None),
    )
    norway, unknown = summary.countries
    assert (norway.label, norway.alerts, norway.people, norway.got_in, norway.worst) == (
        "Norway", 2, 1, 1, Severity.HIGH,
    )  # fmt: skip
    assert (unknown.label, unknown.people) == ("unknown", 1)
    assert [bar.label for bar in summary.networks] == ["AS64500 Example Net"]
    assert (summary.people, summary.addresses, summary.open) == (2, 1, 3)


def test_successes_after_failures_come_first() -> None:
    """Alerts that also contain failures come first, then the most severe, then the latest."""
    summary = summary_of(
        fact(1, successes=1, failures=0, severity=Severity.CRITICAL),
        fact(2, successes=1, failures=3, severity=Severity.LOW),
        fact(3, successes=1, failures=1, severity=Severity.HIGH, first_event_at=SINCE),
        fact(4, successes=1, failures=1, severity=Severity.HIGH, first_event_at=SINCE + DAY),
        fact(5, failures=9),
    )
    assert [one.id for one in summary.successes] == [4, 3, 2, 1]


@pytest.mark.parametrize(
    ("true_positive", "benign", "false_positive", "percent", "advice"),
    [
        (0, 0, 0, None, Advice.UNKNOWN),
        (4, 0, 0, 100, Advice.UNKNOWN),
        (3, 7, 0, 30, Advice.KEEP),
        (2, 7, 1, 20, Advice.TUNE),
        (1, 10, 9, 5, Advice.TUNE),
        (1, 10, 10, 4, Advice.RETIRE),
        (0, 0, 5, 0, Advice.RETIRE),
    ],
)
def test_the_advice_needs_five_verdicts(
    true_positive: int, benign: int, false_positive: int, percent: int | None, advice: Advice
) -> None:
    """A rule's precision is the share of true positives. The advice needs at least five verdicts."""
    rule = RuleVerdicts(
        rule_id="x", alerts=50, true_positive=true_positive, benign=benign, false_positive=false_positive
    )
    assert (rule.precision_percent, rule.advice) == (percent, advice)


@pytest.mark.parametrize(
    ("kind", "operator", "text"),
    [
        ("commercial_vpn", "NORD_VPN", "commercial VPN, NORD VPN"),
        ("tor", None, "tor"),
        (None, "NORD_VPN", "NORD VPN"),
        (None, None, "none known"),
    ],
)
def test_anonymizers_are_named_by_kind_and_operator(
    kind: str | None, operator: str | None, text: str
) -> None:
    """The known ones of kind and operator are named."""
    assert anonymizer(fact(anonymizer=kind, operator=operator)) == text


@given(
    begin=st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 1), timezones=st.just(UTC)),  # noqa: DTZ001 -- with the zone beside it
    days=st.integers(0, 1_000_000),
    seconds=st.integers(1, 86_400),
)
def test_a_period_of_any_length_has_a_limited_number_of_spans(
    begin: datetime, days: int, seconds: int
) -> None:
    """A period of any length has a limited number of days or weeks, and an alert at its end is in the last one."""
    end = datetime(9999, 12, 31, tzinfo=UTC)
    until = begin + min(days * DAY + timedelta(seconds=seconds), end - begin)
    last = until - timedelta(microseconds=1)
    summary = summarize([fact(first_event_at=last)], since=begin, until=until)
    assert 1 <= len(summary.spans) <= 106
    assert summary.spans[-1].total == 1
    assert summary.spans[-1].begin + (summary.days_per_span - 1) * DAY == last.date()


@pytest.mark.parametrize("days", [93, 94, 95, 98, 99, 152, 742])
def test_a_period_from_the_first_day_of_the_calendar(days: int) -> None:
    """The first week of a report begins at the earliest on the first day of the calendar, and contains its alerts."""
    since = datetime(1, 1, 1, tzinfo=UTC)
    until = since + days * DAY
    summary = summarize([fact(first_event_at=since)], since=since, until=until)
    assert summary.spans[-1].begin == (until - 7 * DAY).date()
    assert summary.spans[0].begin <= date(1, 1, 7)
    assert sum(span.total for span in summary.spans) == 1
