"""Count the alerts of a period by day, hour, place, person and rule."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from oktawatch.model.alert_fact import AlertFact
from oktawatch.model.severity import Severity

UNKNOWN = "unknown"
TOP = 10
"""The maximum number of countries, networks, people and so on that a report lists."""
_MOST_GOT_IN = 20
"""The maximum number of alerts with a success that a report lists."""
_MOST_DAYS = 92
"""A period of more days is counted by week."""
_MOST_SPANS = 106
"""The maximum number of weeks, about two years. Limited, because a period can begin at any date."""
FEWEST_VERDICTS = 5
"""With fewer verdicts, a rule's precision means nothing."""
_KEEP, _TUNE = 30, 5  # percent


class Advice(StrEnum):
    """What to do with a rule, by its precision."""

    KEEP = "keep"
    TUNE = "tune"
    RETIRE = "retire"
    UNKNOWN = "too few verdicts"


class Bar(Struct, frozen=True, kw_only=True):
    """The alerts with the same value of a property, such as the same country."""

    label: str
    alerts: int
    people: int
    got_in: int
    """Alerts with a success."""
    worst: Severity


class Span(Struct, frozen=True, kw_only=True):
    """The alerts of a day or a week."""

    begin: date
    alerts: dict[Severity, int]
    got_in: int

    @property
    def total(self) -> int:
        """The number of all alerts."""
        return sum(self.alerts.values())


class RuleVerdicts(Struct, frozen=True, kw_only=True):
    """The verdicts about a rule's alerts."""

    rule_id: str
    alerts: int
    true_positive: int
    benign: int
    false_positive: int

    @property
    def judged(self) -> int:
        """The number of alerts with a verdict."""
        return self.true_positive + self.benign + self.false_positive

    @property
    def precision_percent(self) -> int | None:
        """The share of true positives among the judged alerts. None if there are no judged alerts."""
        return 100 * self.true_positive // self.judged if self.judged else None

    @property
    def advice(self) -> Advice:
        """What to do with the rule."""
        percent = self.precision_percent
        if percent is None or self.judged < FEWEST_VERDICTS:
            return Advice.UNKNOWN
        return Advice.KEEP if percent >= _KEEP else Advice.TUNE if percent >= _TUNE else Advice.RETIRE


class Summary(Struct, frozen=True, kw_only=True):
    """The contents of a report."""

    since: datetime
    until: datetime
    orgs: list[str]
    """The selected orgs, or all orgs with alerts."""
    alerts: int
    events: int
    people: int
    addresses: int
    open: int
    """Alerts that nobody has closed."""
    got_in: int
    """Alerts with a success."""
    severities: dict[Severity, int]
    days_per_span: int
    spans: list[Span]
    hours: list[int]
    """Alerts by the hour of their earliest event, in UTC."""
    countries: list[Bar]
    networks: list[Bar]
    anonymizers: list[Bar]
    top_people: list[Bar]
    top_addresses: list[Bar]
    rules: list[RuleVerdicts]
    successes: list[AlertFact]
    """The first `_MOST_GOT_IN` alerts with a success: those with failures first, then the most severe, then the latest."""


class _Group:
    """Counts the alerts with the same value of a property."""

    def __init__(self) -> None:
        self.alerts = 0
        self.got_in = 0
        self.worst = Severity.INFO
        self.people: set[str] = set()

    def add(self, fact: AlertFact) -> None:
        self.alerts += 1
        self.got_in += fact.successes > 0
        self.worst = max(self.worst, fact.severity)
        self.people.add(_person(fact))


def who(fact: AlertFact) -> str:
    """Return the login of an alert's actor, or else the actor's id."""
    return fact.actor_alternate_id or fact.actor_id or UNKNOWN


def network(fact: AlertFact) -> str:
    """Return the AS number and name: ``AS64500 Example Net``."""
    if fact.as_number is None:
        return UNKNOWN
    return f"AS{fact.as_number} {fact.as_org or ''}".rstrip()


def anonymizer(fact: AlertFact) -> str:
    """Return the kind and operator of the anonymizer: ``commercial VPN, NORD VPN``."""
    kind = (fact.anonymizer or "").replace("_", " ").replace("vpn", "VPN")
    operator = (fact.operator or "").replace("_", " ")
    return ", ".join(part for part in (kind, operator) if part) or "none known"


_PROPERTIES: dict[str, Callable[[AlertFact], str]] = {
    "countries": lambda fact: fact.country or UNKNOWN,
    "networks": network,
    "anonymizers": anonymizer,
    "top_people": who,
    "top_addresses": lambda fact: fact.client_ip or UNKNOWN,
}


def summarize(
    facts: Iterable[AlertFact], *, since: datetime, until: datetime, orgs: Sequence[str] = ()
) -> Summary:
    """Count alerts whose earliest event is in a period. ``orgs`` are the selected orgs, by default all."""
    groups: dict[str, dict[str, _Group]] = {name: defaultdict(_Group) for name in _PROPERTIES}
    days: dict[date, Counter[Severity]] = defaultdict(Counter)
    got_in_by_day: Counter[date] = Counter()
    total, hours, severities = Counter[str](), Counter[int](), Counter[Severity]()
    verdicts: dict[str, Counter[str | None]] = defaultdict(Counter)
    people, addresses, found_orgs, successes = set(), set(), set(orgs), []
    for fact in facts:
        day = fact.first_event_at.date()
        days[day][fact.severity] += 1
        severities[fact.severity] += 1
        hours[fact.first_event_at.hour] += 1
        total.update(alerts=1, events=fact.event_count, open=fact.status != "closed")
        verdicts[fact.rule_id][fact.disposition] += 1
        people.add(_person(fact))
        addresses.add(fact.client_ip)
        found_orgs.add(fact.org)
        if fact.successes:
            total["got_in"] += 1
            got_in_by_day[day] += 1
            successes.append(fact)
        for name, value_of in _PROPERTIES.items():
            groups[name][value_of(fact)].add(fact)
    days_per_span = 7 if (until - since).days > _MOST_DAYS else 1
    return Summary(
        since=since,
        until=until,
        orgs=sorted(found_orgs),
        alerts=total["alerts"],
        events=total["events"],
        people=len(people),
        addresses=len(addresses - {None}),
        open=total["open"],
        got_in=total["got_in"],
        severities={severity: severities[severity] for severity in reversed(Severity)},
        days_per_span=days_per_span,
        spans=_spans(days, got_in_by_day, since, until, days_per_span),
        hours=[hours[hour] for hour in range(24)],
        **{name: _bars(found) for name, found in groups.items()},
        rules=_rules(verdicts),
        successes=sorted(successes, key=_by_urgency)[:_MOST_GOT_IN],
    )


def _person(fact: AlertFact) -> str:
    return fact.actor_id or fact.actor_alternate_id or UNKNOWN


def _by_urgency(fact: AlertFact) -> tuple[bool, int, float]:
    return (not fact.failures, -fact.severity, -fact.first_event_at.timestamp())


def _bars(groups: dict[str, _Group]) -> list[Bar]:
    """Return the `TOP` largest groups, the largest first."""
    largest = sorted(groups.items(), key=lambda item: (-item[1].alerts, item[0]))[:TOP]
    return [
        Bar(
            label=label,
            alerts=group.alerts,
            people=len(group.people),
            got_in=group.got_in,
            worst=group.worst,
        )
        for label, group in largest
    ]


def _rules(verdicts: dict[str, Counter[str | None]]) -> list[RuleVerdicts]:
    found = [
        RuleVerdicts(
            rule_id=rule_id,
            alerts=counts.total(),
            true_positive=counts["true_positive"],
            benign=counts["benign"],
            false_positive=counts["false_positive"],
        )
        for rule_id, counts in verdicts.items()
    ]
    return sorted(found, key=lambda rule: (-rule.alerts, rule.rule_id))


def _spans(
    days: dict[date, Counter[Severity]],
    got_in: Counter[date],
    since: datetime,
    until: datetime,
    days_per_span: int,
) -> list[Span]:
    """Return the days or weeks of the period, at most the latest `_MOST_SPANS`. The last ends with the period.

    The first week may begin before the period, but not before the first day of the calendar.
    """
    last = (until - timedelta(microseconds=1)).toordinal()
    count = (last - since.toordinal() + days_per_span) // days_per_span
    spans = []
    for number in reversed(range(min(count, _MOST_SPANS))):
        end = last - number * days_per_span
        begin = max(end - days_per_span + 1, date.min.toordinal())
        within = [date.fromordinal(day) for day in range(begin, end + 1)]
        alerts: Counter[Severity] = Counter()
        for day in within:
            alerts.update(days.get(day, {}))
        spans.append(
            Span(
                begin=within[0],
                alerts={severity: alerts[severity] for severity in Severity},
                got_in=sum(got_in[day] for day in within),
            )
        )
    return spans
