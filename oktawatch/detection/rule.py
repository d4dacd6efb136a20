"""The rule contract.

Each rule is a class in its own file in ``rules/``, with its test cases in a YAML file of the same name.
Class variables are the rule's metadata. Dataclass fields are its options, with their defaults.

This module contains the base class and `EventRule`, which decides by a single event. The kinds that look back at
earlier events are in ``windows`` and ``first_seen``.

A rule reads events through their accessors and does no I/O. An exception from a predicate is reported and
stops neither the page nor other rules.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

import msgspec

from oktawatch.detection.context import event_context
from oktawatch.detection.event_types import type_test
from oktawatch.detection.evidence import Classification, Evidence
from oktawatch.model.anonymizer_kind import Anonymizer
from oktawatch.model.event import Event
from oktawatch.model.match import AlertDetails, Match, MatchedEvent, MatchOrigin
from oktawatch.model.sanitize import clean_json, clean_text, is_clean, shorten
from oktawatch.model.severity import Severity

LONGEST_KEY_PART = 128  # characters; four parts fit into a Postgres index row (2.7 KB)
LONGEST_TITLE = 1_000  # characters

Key = tuple[str | None, ...]
"""Events or matches with equal keys belong together."""

OnError = Callable[["Rule", str, Exception], None]
"""Report an exception that a rule raised for the event with this uuid."""


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """Base class of all rules."""

    id: ClassVar[str]
    name: ClassVar[str]
    description: ClassVar[str]
    runbook: ClassVar[str]
    """How to respond to an alert."""
    false_positives: ClassVar[str]
    mitre: ClassVar[tuple[str, ...]] = ()
    """ATT&CK ids: ``TA0006:T1556``."""
    references: ClassVar[tuple[str, ...]] = ()
    event_types: ClassVar[tuple[str, ...]]
    """The event types that the rule needs. A trailing ``*`` matches any ending."""
    on_by_default: ClassVar[bool] = False
    signal: ClassVar[bool] = False
    """Whether matches are recorded as signals and open no alerts."""
    evidence: ClassVar[Evidence] = Evidence()
    """Classifies addresses. The registry sets the configured evidence on each instance."""

    severity: Severity
    dedup_period: timedelta
    """A match joins an alert with the same dedup key if the alert's anchor is less than this time before or after the match."""
    threshold: int = 1
    """The number of matches that makes the alert visible."""
    raise_on_success: bool = True
    """Whether a success after failures raises an alert of MEDIUM or above by one level."""

    def needed_types(self) -> tuple[str, ...]:
        """Return the event types that the rule needs with its configured options."""
        return self.event_types

    def severity_of(self, event: Event) -> Severity:  # noqa: ARG002 -- the default ignores the event
        """Return the severity of an event's match."""
        return self.severity

    def classify(self, event: Event) -> Classification:
        """Classify the anonymizer behind the client's address."""
        return self.evidence.classify(event)

    def title(self, event: Event) -> str:
        """Return a one-line summary of an event's match."""
        return f"{self.name}: {event.actor_alternate_id or event.actor_id or 'somebody'}"

    def context(self, event: Event) -> dict[str, Any]:
        """Return the details of an event that an analyst needs."""
        return event_context(event)

    def dedup(self, event: Event) -> Key:
        """Return the dedup key. Matches with equal keys share an alert. History rules use the key of their window instead."""
        return (event.actor_id or event.actor_alternate_id, event.client_ip)

    def match(
        self,
        event: Event,
        *,
        key: Key | None = None,
        severity: Severity | None = None,
        more: Callable[[], dict[str, Any]] | None = None,
        partial_event: bool = False,
    ) -> Match:
        """Build the match for an event.

        ``key`` replaces the result of ``dedup``, and ``severity`` replaces that of ``severity_of``. ``more`` returns
        additions to the context. A ``partial_event`` was rebuilt from history.
        """
        return Match(
            rule_id=self.id,
            event_uuid=event.uuid,
            published=event.published_at,
            dedup_key=_dedup_key(self, event, key),
            severity=_severity(self, event) if severity is None else severity,
            event=MatchedEvent(
                event_type=event.event_type or None,
                outcome=event.outcome_result,
                outcome_reason=event.outcome_reason,
                client_ip=event.client_ip,
                user_agent=event.user_agent,
            ),
            details=partial(_details, self, event, more),
            origin=partial(origin_of, self, event, partial_event=partial_event),
        )


@dataclass(frozen=True, kw_only=True)
class EventRule(Rule):
    """A rule that decides by a single event."""

    @abstractmethod
    def matches(self, event: Event) -> bool:
        """Return whether an event of one of ``event_types`` matches."""

    def condition(self, event: Event) -> str | None:  # noqa: ARG002 -- the default ignores the event
        """Return the text that `oktawatch explain` shows for ``matches``. If None, it shows the docstring of ``matches``."""
        return None

    def evaluate(self, events: Sequence[Event], on_error: OnError) -> Iterator[Match]:
        """Return the matches of a page's events, in the page's order."""
        return map(self.match, self.matching_events(events, on_error))

    def matching_events(self, events: Sequence[Event], on_error: OnError) -> Iterator[Event]:
        """Return the events of a page that match, in the page's order."""
        types = set(filter(type_test(self.needed_types()), {event.eventType for event in events}))
        matches = self.matches
        for event in events:
            try:
                is_match = event.eventType in types and bool(matches(event))
            except Exception as error:  # noqa: BLE001 -- a rule may raise anything, and must not stop its page
                on_error(self, event.uuid, error)
                continue
            if is_match:
                yield event


# A faulty title, severity, key, context or classification must not lose the match, so each has a fallback.


def _severity(rule: Rule, event: Event) -> Severity:
    try:
        return Severity(rule.severity_of(event))
    except Exception:  # noqa: BLE001 -- a rule may raise anything
        return rule.severity


def _dedup_key(rule: Rule, event: Event, key: Key | None) -> str:
    try:
        return _encode_key(rule.dedup(event) if key is None else key)
    except Exception:  # noqa: BLE001 -- a rule may raise or return anything
        return _encode_key(Rule.dedup(rule, event))


def _encode_key(key: Key) -> str:
    parts = [clean_text(shorten(part or "", LONGEST_KEY_PART)) for part in key]
    return msgspec.json.encode(parts).decode()


def _title(rule: Rule, event: Event) -> str:
    try:
        return shorten(_one_line(rule.title(event)), LONGEST_TITLE)
    except Exception:  # noqa: BLE001 -- a rule may raise anything
        return rule.name


def _context(
    rule: Rule,
    event: Event,
    classification: Classification,
    more: Callable[[], dict[str, Any]] | None,
) -> dict[str, Any]:
    try:
        parts = rule.context(event) | (more() if more else {})
        parts |= _anonymizer_context(classification)
        # The round trip converts to plain JSON values, and raises if it can't.
        encoded = msgspec.json.encode(parts)
        context = msgspec.json.decode(encoded)
        context = context if is_clean(encoded) else clean_json(context)
    except Exception as error:  # noqa: BLE001 -- a rule may raise anything
        return {"_error": clean_text(f"{type(error).__name__}: {error}")}
    return context if isinstance(context, dict) else {"_error": "the rule's context is not a JSON object"}


def _anonymizer_context(classification: Classification) -> dict[str, Any]:
    if classification.kind is None:
        return {}
    return {
        "anonymizer": {
            "kind": classification.kind,
            "operator": classification.operator,
            "evidence": classification.findings,
        }
    }


def _details(rule: Rule, event: Event, more: Callable[[], dict[str, Any]] | None) -> AlertDetails:
    classification = _classification(rule, event)
    return AlertDetails(
        title=_title(rule, event),
        context=_context(rule, event, classification, more),
        anonymizer=classification.kind,
        operator=classification.operator,
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


def origin_of(rule: Rule, event: Event, *, partial_event: bool = False) -> MatchOrigin:
    """Return the origin of an event.

    A ``partial_event`` is not classified, so no allow entry for kinds or operators applies to its match. History lacks
    the types of services, so the anonymizer could look more harmless than it is.
    """
    return MatchOrigin(
        actor_alternate_id=event.actor_alternate_id,
        client_ip=event.client_ip,
        as_number=event.as_number,
        zone=event.client_zone,
        anonymizer=partial(_anonymizer, rule, None if partial_event else event),
    )


def _anonymizer(rule: Rule, event: Event | None) -> Anonymizer | None:
    return None if event is None else _classification(rule, event).anonymizer


def _classification(rule: Rule, event: Event) -> Classification:
    try:
        classification: object = rule.classify(event)
    except Exception:  # noqa: BLE001 -- a rule may raise anything
        classification = None
    return classification if isinstance(classification, Classification) else Rule.classify(rule, event)


def _one_line(title: str) -> str:
    if title.isprintable():
        return title
    return "".join(character if character.isprintable() else " " for character in title)
