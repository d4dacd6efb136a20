"""The rule contract: what a detection is made of.

A rule is a class, one file each in ``rules/``, with its metadata beside its code and its test cases
in a YAML file of the same name. Class variables say what it *is*; dataclass fields are the numbers
that the configuration may change, with their defaults. The vocabulary is the one that detection
engineers know: match, title, severity, context, dedup key, dedup period, threshold.

This module has what every rule has, and the simplest kind, the rule that looks at one event; kinds
that look at several are in ``windows`` and ``first_seen``.

A rule is pure: it sees events through their safe accessors and does no I/O. What it gets wrong is
contained here: an exception while it decides is reported and stops neither the page nor other rules;
one in title, severity or context never loses the match.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import compress
from typing import Any, ClassVar, cast

import msgspec

from oktawatch.detection.alike import columns_of, marks
from oktawatch.detection.context import event_context
from oktawatch.detection.event_types import type_test
from oktawatch.model.event import Event
from oktawatch.model.history import HistoryRow
from oktawatch.model.match import AlertDetails, Match, MatchedEvent
from oktawatch.model.sanitize import clean_json, clean_text, is_clean, shorten
from oktawatch.model.severity import Severity

LONGEST_KEY_PART = 128  # characters; four parts of it fit an index row of Postgres (2.7 KB)
LONGEST_TITLE = 1_000

Key = tuple[str | None, ...]
"""Values that together say which events or matches belong together."""

OnError = Callable[["Rule", str, Exception], None]
"""Told of an exception that a rule raised while it looked at the event with this uuid."""


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """One detection, of whatever kind."""

    id: ClassVar[str]
    name: ClassVar[str]
    description: ClassVar[str]
    runbook: ClassVar[str]
    """What to do about an alert."""
    false_positives: ClassVar[str]
    mitre: ClassVar[tuple[str, ...]] = ()
    """ATT&CK ids: ``TA0006:T1556``."""
    references: ClassVar[tuple[str, ...]] = ()
    event_types: ClassVar[tuple[str, ...]]
    """The event types it needs; a trailing ``*`` stands for any ending."""
    on_by_default: ClassVar[bool] = False
    signal: ClassVar[bool] = False
    """Its matches are recorded for other rules and never make an alert."""

    severity: Severity
    dedup_period: timedelta
    """Matches of one dedup key within this time of the alert's anchor belong to one alert."""
    threshold: int = 1
    """How many matches make the alert visible."""
    raise_on_success: bool = True
    """Whether an alert of MEDIUM or above goes up one level when somebody gets in after failures."""

    def needed_types(self) -> tuple[str, ...]:
        """Give the event types that it needs with its present numbers."""
        return self.event_types

    def severity_of(self, event: Event) -> Severity:  # noqa: ARG002 -- the default looks at no event
        """Say how bad this match is."""
        return self.severity

    def title(self, event: Event) -> str:
        """Say in one line what happened."""
        return f"{self.name}: {event.actor_alternate_id or event.actor_id or 'somebody'}"

    def context(self, event: Event) -> dict[str, Any]:
        """Gather what somebody needs who looks into the alert."""
        return event_context(event)

    def dedup(self, event: Event) -> Key:
        """Name whose alert it is: matches that agree in all parts share one."""
        return (event.actor_id or event.actor_alternate_id, event.client_ip)

    def match(
        self, event: Event, *, key: Key | None = None, more: Callable[[], dict[str, Any]] | None = None
    ) -> Match:
        """Make the match of an event that the rule recognised.

        ``key`` stands for what ``dedup`` gives; ``more`` adds to the context.
        """
        return Match(
            rule_id=self.id,
            event_uuid=event.uuid,
            published=event.published_at,
            dedup_key=_dedup_key(self, event, key),
            severity=_severity(self, event),
            event=MatchedEvent(
                event_type=event.event_type or None,
                outcome=event.outcome_result,
                outcome_reason=event.outcome_reason,
                client_ip=event.client_ip,
                user_agent=event.user_agent,
            ),
            details=partial(_details, self, event, more),
        )


@dataclass(frozen=True, kw_only=True)
class EventRule(Rule):
    """A rule that decides by one event alone. Subclass it, give it its metadata, say what matches."""

    @abstractmethod
    def matches(self, event: Event) -> bool:
        """Tell whether an event of one of ``event_types`` is what the rule looks for."""

    def decided_by(self) -> tuple[str, ...] | None:
        """Give the columns of history that ``matches`` decides by, if they are known and few (see ``alike``)."""
        return columns_of(self.matches)

    def evaluate(
        self, events: Sequence[Event], on_error: OnError, *, rows: Sequence[HistoryRow] = ()
    ) -> Iterator[Match]:
        """Give the matches among a page's events, in the page's order. ``rows``: see ``recognised``."""
        return map(self.match, self.recognised(events, on_error, rows=rows))

    def recognised(
        self, events: Sequence[Event], on_error: OnError, *, rows: Sequence[HistoryRow] = ()
    ) -> Iterable[Event]:
        """Give the events of a page that match. ``rows``: see ``marks``."""
        return compress(events, self.marks(events, on_error, rows=rows))

    def marks(
        self, events: Sequence[Event], on_error: OnError, *, rows: Sequence[HistoryRow] = ()
    ) -> Iterable[bool]:
        """Tell of each event of a page whether it matches.

        ``rows``: what is remembered of them. Where that is every one, the rule is asked once for events alike.
        """
        columns = self.decided_by()
        if columns is not None and len(rows) == len(events):
            return self._marks_of(rows, columns, on_error)
        return self._one_by_one(events, on_error)

    def _one_by_one(self, events: Sequence[Event], on_error: OnError) -> Iterator[bool]:
        wanted = type_test(self.needed_types())
        for event in events:
            try:
                yield bool(wanted(event.eventType) and self.matches(event))
            except Exception as error:  # noqa: BLE001 -- a rule may raise anything, and must not stop its page
                on_error(self, event.uuid, error)
                yield False

    def _marks_of(
        self, rows: Sequence[HistoryRow], columns: tuple[str, ...] | None, on_error: OnError
    ) -> Iterable[bool]:
        wanted, matches = type_test(self.needed_types()), cast("Callable[[HistoryRow], bool]", self.matches)
        return marks(
            rows, columns, lambda row: wanted(row.event_type) and matches(row), partial(on_error, self)
        )


# A match is never lost for its looks: whatever a rule raises or gives below, there is a fallback.


def _severity(rule: Rule, event: Event) -> Severity:
    try:
        return Severity(rule.severity_of(event))
    except Exception:  # noqa: BLE001 -- a rule may raise anything
        return rule.severity


def _dedup_key(rule: Rule, event: Event, key: Key | None) -> str:
    try:
        return _written(rule.dedup(event) if key is None else key)
    except Exception:  # noqa: BLE001 -- a rule may raise or give anything
        return _written(Rule.dedup(rule, event))


def _written(key: Key) -> str:
    parts = [clean_text(shorten(part or "", LONGEST_KEY_PART)) for part in key]
    return msgspec.json.encode(parts).decode()


def _title(rule: Rule, event: Event) -> str:
    try:
        return shorten(_one_line(rule.title(event)), LONGEST_TITLE)
    except Exception:  # noqa: BLE001 -- a rule may raise anything
        return rule.name


def _context(rule: Rule, event: Event, more: Callable[[], dict[str, Any]] | None) -> dict[str, Any]:
    try:
        # There and back: a plain copy of plain values, or an exception for what no encoder writes.
        encoded = msgspec.json.encode(rule.context(event) | (more() if more else {}))
        context = msgspec.json.decode(encoded)
        context = context if is_clean(encoded) else clean_json(context)
    except Exception as error:  # noqa: BLE001 -- a rule may raise anything
        return {"_error": clean_text(f"{type(error).__name__}: {error}")}
    return context if isinstance(context, dict) else {"_error": "the rule's context is no JSON object"}


def _details(rule: Rule, event: Event, more: Callable[[], dict[str, Any]] | None) -> AlertDetails:
    return AlertDetails(
        title=_title(rule, event),
        context=_context(rule, event, more),
        actor_id=event.actor_id,
        actor_alternate_id=event.actor_alternate_id,
        actor_display_name=event.actor_display_name,
        client_ip=event.client_ip,
        country=event.country,
        city=event.city,
        as_number=event.as_number,
        as_org=event.as_org,
        isp=event.isp,
        domain=event.domain,
        outcome_result=event.outcome_result,
        outcome_reason=event.outcome_reason,
    )


def _one_line(title: str) -> str:
    if title.isprintable():
        return title
    return "".join(letter if letter.isprintable() else " " for letter in title)
