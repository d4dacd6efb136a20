"""The org's events, stored once and indexed in two orders.

An event has two times: `published`, when it happened, and its persistence time, when the System Log stored it.
Polls return events by persistence time, bounded requests by `published`. The two orders differ, so the pages of a
poll are not sorted by `published`.

The record numbers events in the order of arrival, and keeps a sorted list of the numbers for each order. A pair
(time, number) is a place in an order. Places stay valid as the record grows: of two events with the same
time, the one added later has the higher number.

An event is stored as the bytes to send. For a generated event, only its template and time are stored.
"""

import json
import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from . import scim, times

Place = tuple[int, int]
"""The place of an event in an order: its time in milliseconds, its number."""

_STORED = 0xFFFF_FFFF
"""The template number of events whose bytes are stored."""

_EVENT_TYPE = re.compile(rb'"eventType"\s*:\s*"([^"\\]*)"')
_PUBLISHED = re.compile(rb'"published"\s*:\s*"([^"\\]*)"')

_encode = json.JSONEncoder(separators=(",", ":")).encode


class EventTemplate(Protocol):
    """Generates events that share everything but a few fields."""

    event_type: str

    def render(self, number: int, published: int) -> bytes:
        """Return the event with a number and a `published` time in milliseconds. Must be deterministic."""
        ...


@dataclass(frozen=True, slots=True)
class GeneratedEvent:
    """An event that is generated from a template when it is served."""

    template: EventTemplate
    published: int
    """In milliseconds."""


class Order:
    """The numbers of events, sorted by time, then by number."""

    def __init__(self) -> None:
        self._times = array("q")
        self._numbers = array("I")

    def __len__(self) -> int:
        return len(self._times)

    def add(self, time: int, number: int) -> None:
        """Insert a number that is higher than all numbers inserted before."""
        at = (
            len(self._times)
            if not self._times or self._times[-1] <= time
            else bisect_right(self._times, time)
        )
        self._times.insert(at, time)
        self._numbers.insert(at, number)

    def number(self, index: int) -> int:
        """Return the number at an index."""
        return self._numbers[index]

    def place(self, index: int) -> Place:
        """Return the place at an index."""
        return self._times[index], self._numbers[index]

    def index_from(self, time: int) -> int:
        """Return the index of the first event at `time` or later."""
        return bisect_left(self._times, time)

    def index_at(self, place: Place) -> int:
        """Return the index of the first event at `place` or after it."""
        time, number = place
        low = bisect_left(self._times, time)
        high = bisect_right(self._times, time, low)
        return bisect_left(self._numbers, number, low, high)


class Record:
    """All events of an org, including those that its clock has not reached yet."""

    def __init__(self) -> None:
        self.by_persistence = Order()
        self.by_published = Order()
        self._persisted = array("q")
        self._published = array("q")
        self._types = array("I")
        self._type_ids: dict[str, int] = {}
        self._template_numbers = array("I")
        self._templates: list[EventTemplate] = []
        self._template_ids: dict[EventTemplate, int] = {}
        self._bodies: dict[int, bytes] = {}

    def add(self, persisted: int, event: dict[str, Any] | bytes | GeneratedEvent) -> None:
        """Add an event, persisted at a time in milliseconds.

        Bytes are stored and served unchanged. An event without a valid `published` is treated as published when
        it was persisted.
        """
        number = len(self._persisted)
        if isinstance(event, GeneratedEvent):
            event_type, published = event.template.event_type, event.published
            self._template_numbers.append(self._template_id(event.template))
        else:
            event_type, published = _type_and_time(event, persisted)
            self._bodies[number] = event if isinstance(event, bytes) else _encode(event).encode()
            self._template_numbers.append(_STORED)
        self._persisted.append(persisted)
        self._published.append(published)
        self._types.append(self._type_ids.setdefault(event_type, len(self._type_ids)))
        self.by_persistence.add(persisted, number)
        self.by_published.add(published, number)

    def persisted(self, number: int) -> int:
        """Return the persistence time of an event in milliseconds."""
        return self._persisted[number]

    def body(self, number: int) -> bytes:
        """Return the bytes of an event."""
        template = self._template_numbers[number]
        return (
            self._bodies[number]
            if template == _STORED
            else self._templates[template].render(number, self._published[number])
        )

    def event(self, number: int) -> Any:
        """Return an event parsed from JSON. None if it can't be parsed."""
        try:
            return json.loads(self.body(number).decode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError):
            return None

    def selector(self, filter_: scim.Filter) -> Callable[[int], bool]:
        """Return a function that tests whether the event with a number matches a filter.

        A filter on the event type alone is evaluated once per type, without parsing events.
        """
        if filter_.paths <= {("eventType",)}:
            type_matches = [filter_.matches(_event_type(name)) for name in self._type_ids]
            return lambda number: type_matches[self._types[number]]

        def matches(number: int) -> bool:
            event = self.event(number)
            return filter_.matches(lambda path: scim.values_at(event, path))

        return matches

    def _template_id(self, template: EventTemplate) -> int:
        if template not in self._template_ids:
            self._template_ids[template] = len(self._templates)
            self._templates.append(template)
        return self._template_ids[template]


def _event_type(name: str) -> scim.Lookup:
    return lambda _: [name] if name else []


def _type_and_time(event: dict[str, Any] | bytes, persisted: int) -> tuple[str, int]:
    """Return the type and the `published` time of an event, even if its bytes are not valid JSON."""
    if isinstance(event, bytes):
        event_type, published = _find_type_and_time(event)
    else:
        event_type, published = event.get("eventType"), event.get("published")
    return event_type if isinstance(event_type, str) else "", _published(published, persisted)


def _find_type_and_time(body: bytes) -> tuple[object, object]:
    try:
        event = json.loads(body.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        matches = _EVENT_TYPE.search(body), _PUBLISHED.search(body)
        event_type, published = (match and match[1].decode("utf-8", "replace") for match in matches)
        return event_type, published
    return (event.get("eventType"), event.get("published")) if isinstance(event, dict) else (None, None)


def _published(value: object, otherwise: int) -> int:
    try:
        return times.read(value) if isinstance(value, str) else otherwise
    except (ValueError, OverflowError):
        return otherwise
