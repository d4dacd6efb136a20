"""A kind of rule: match single sign-ins, with a severity that depends on the person's past."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from oktawatch.detection.evidence_severity import GradedSeverity
from oktawatch.detection.history import History
from oktawatch.detection.rule import EventRule, Key, OnError
from oktawatch.model.event import Event
from oktawatch.model.history import HistoryRow
from oktawatch.model.match import Match
from oktawatch.model.person_past import (
    FAILURE_WINDOW,
    FAMILIAR_WINDOW,
    NO_PAST,
    Past,
    PastQuery,
    failed_actor,
    familiar_day,
    query_of,
)
from oktawatch.model.severity import Severity
from oktawatch.model.timestamps import shifted


class HasPasts(Protocol):
    """The part of `History` that grading uses."""

    def pasts(self, queries: Sequence[PastQuery]) -> list[Past]:
        """See `History`."""


@dataclass(frozen=True, kw_only=True)
class PastRule(EventRule):
    """A rule that decides by a single sign-in, and grades the match by the person's past.

    The `Past` is what is known about the person when the sign-in is first read. A severity is decided once, and page
    boundaries don't change it.
    """

    @property
    @abstractmethod
    def needs_past(self) -> bool:
        """Whether, with the configured options, the severity depends on the past."""

    @abstractmethod
    def graded(self, event: Event, past: Past) -> GradedSeverity:
        """Return the severity and the reasons."""

    def graded_in(self, row: HistoryRow, history: HasPasts) -> GradedSeverity:
        """Grade a recorded event as `evaluate_with_past` grades a new one.

        This sets ``row.anonymizer``, on which the query for the past depends.
        """
        row.anonymizer = self.evidence.anonymizer_of(row)
        query = query_of(row) if self.needs_past else None
        return self.graded(row.full_event(), NO_PAST if query is None else history.pasts([query])[0])

    def severity_of(self, event: Event) -> Severity:
        """Return the severity of an event as if nothing were known about the person."""
        return self.graded(event, NO_PAST).severity

    def match(
        self,
        event: Event,
        *,
        key: Key | None = None,
        severity: Severity | None = None,
        more: Callable[[], dict[str, Any]] | None = None,
        partial_event: bool = False,
        past: Past = NO_PAST,
    ) -> Match:
        """Build the match. Its context has the severity and the reasons for it."""
        try:
            graded = self.graded(event, past)
        except Exception:  # noqa: BLE001 -- a rule may raise anything, and a faulty severity must not lose the match
            graded = GradedSeverity(self.severity, ())

        def context() -> dict[str, Any]:
            reasons = {"match_severity": str(graded.severity), "severity_reasons": graded.reasons}
            return reasons | (more() if more else {})

        return super().match(
            event,
            key=key,
            severity=severity or graded.severity,
            more=context,
            partial_event=partial_event,
        )

    def evaluate_with_past(
        self, events: Sequence[Event], rows: Sequence[HistoryRow], history: History, on_error: OnError
    ) -> Iterator[Match]:
        """Return the matches of a page's events, in the page's order.

        ``rows`` are the page's history rows, ``history`` does not contain this page. ``history`` is queried only if
        the page has matches and the severity depends on the past.
        """
        matching = list(self.matching_events(events, on_error))
        if not matching or not self.needs_past:
            yield from map(self.match, matching)
            return
        for event, past in zip(matching, past_of_each(matching, rows, history), strict=True):
            yield self.match(event, past=past)


def past_of_each(events: Sequence[Event], rows: Sequence[HistoryRow], history: History) -> Iterator[Past]:
    """Yield each event's past, from history and the page's rows up to the event. ``events`` are in page order."""
    page = iter(rows)
    event_rows = [next(row for row in page if row.event is event) for event in events]
    queries = [query_of(row) for row in event_rows]
    found = iter(history.pasts([query for query in queries if query is not None]))
    people = {query.actor_id for query in queries if query is not None}
    rows_read = _RowsRead(row for row in rows if row.actor_id in people)
    for row, query in zip(event_rows, queries, strict=True):
        if query is None:
            yield NO_PAST
        else:
            rows_read.read_until(row)
            yield rows_read.added_to(next(found), query)


class _RowsRead:
    """The rows of people with matches, from the page's start up to the current match."""

    def __init__(self, rows: Iterable[HistoryRow]) -> None:
        self._rows = iter(rows)
        self._failures: dict[str, list[tuple[str, str]]] = {}
        self._days: dict[tuple[str, str], set[str]] = {}

    def read_until(self, last: HistoryRow) -> None:
        """Read the rows up to and including ``last``."""
        for row in self._rows:
            if actor := failed_actor(row):
                self._failures.setdefault(actor, []).append((row.published, row.uuid))
            if (day := familiar_day(row)) is not None:
                self._days.setdefault((day.actor_id, day.service), set()).add(day.day)
            if row is last:
                return

    def added_to(self, past: Past, query: PastQuery) -> Past:
        """Return a past from history, extended by the rows read so far."""
        since = shifted(query.published, -FAILURE_WINDOW)
        failures = [
            key for key in self._failures.get(query.actor_id, ()) if since <= key[0] <= query.published
        ]
        earliest_day = shifted(query.published, -FAMILIAR_WINDOW)[:10]
        days = [
            day
            for day in self._days.get((query.actor_id, query.service or ""), ())
            if earliest_day <= day < query.published[:10]
        ]
        if not failures and not days:
            return past
        return msgspec.structs.replace(
            past, failures=past.failures.union(failures), days=past.days.union(days)
        )
