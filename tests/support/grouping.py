"""Matches in pages, and an in-memory store that groups them."""

import itertools
from collections.abc import Sequence
from datetime import timedelta

from hypothesis import strategies as st

from oktawatch.detection.grouping import Grouping, GroupingPolicy, Notice, NoticeKind
from oktawatch.model.alert import Alert
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
