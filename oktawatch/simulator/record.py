"""The org's record of events: each kept once, and found in two orders.

An event has a time at which it says that it happened (`published`) and one at which the System Log took it in
(its persistence). Polling follows the second, bounded requests the first, and the two disagree: that is why
pages of a poll are out of order by `published`. So a record is a table of columns, a row an event, numbered in
the order of arrival, with two sorted lists of those numbers. A pair (time, number) is a place in an order
that stays true however the record grows: what is added later at the same time has a higher number.

The columns are arrays and an event is kept as the bytes that are sent. An event can also be *drawn*: then only
its form is kept, and the bytes are made when they are asked for. A million drawn events cost 50 MB.
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
"""Where an event stands in an order: its time in milliseconds, its number."""

_KEPT = 0xFFFF_FFFF
"""Stands for a form where an event's own bytes are kept."""

_EVENT_TYPE = re.compile(rb'"eventType"\s*:\s*"([^"\\]*)"')
_PUBLISHED = re.compile(rb'"published"\s*:\s*"([^"\\]*)"')


class Form(Protocol):
    """What drawn events have in common."""

    event_type: str

    def fill(self, number: int, published: int) -> bytes:
        """Return the event of that number, published at that time (milliseconds): the same on each call."""
        ...


@dataclass(frozen=True, slots=True)
class Drawn:
    """An event that is made from a form when it is served."""

    form: Form
    published: int
    """In milliseconds."""


class Order:
    """Numbers of events, sorted by a time and, where times are equal, by number."""

    def __init__(self) -> None:
        self._times = array("q")
        self._numbers = array("I")

    def __len__(self) -> int:
        return len(self._times)

    def add(self, time: int, number: int) -> None:
        """Insert a number that is higher than all before it."""
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
        """Return the place of what is at an index."""
        return self._times[index], self._numbers[index]

    def index_from(self, time: int) -> int:
        """Return the index of the first that is at a time or later."""
        return bisect_left(self._times, time)

    def index_at(self, place: Place) -> int:
        """Return the index of the first at a place or after it."""
        time, number = place
        low = bisect_left(self._times, time)
        high = bisect_right(self._times, time, low)
        return bisect_left(self._numbers, number, low, high)


class Record:
    """Every event of an org, those that its clock has not reached yet included."""

    def __init__(self) -> None:
        self.by_persistence = Order()
        self.by_published = Order()
        self._persisted = array("q")
        self._published = array("q")
        self._types = array("I")
        self._type_ids: dict[str, int] = {}
        self._drawn = array("I")
        self._forms: list[Form] = []
        self._form_ids: dict[Form, int] = {}
        self._kept: dict[int, bytes] = {}

    def add(self, persisted: int, event: dict[str, Any] | bytes | Drawn) -> None:
        """Take an event in, persisted at a time in milliseconds.

        Bytes are kept and served as they are, whatever they hold. An event whose `published` is no time counts
        as published when it was persisted.
        """
        number = len(self._persisted)
        if isinstance(event, Drawn):
            event_type, published = event.form.event_type, event.published
            self._drawn.append(self._form_id(event.form))
        else:
            body = event if isinstance(event, bytes) else json.dumps(event, separators=(",", ":")).encode()
            event_type, published = _essence(body, persisted)
            self._kept[number] = body
            self._drawn.append(_KEPT)
        self._persisted.append(persisted)
        self._published.append(published)
        self._types.append(self._type_ids.setdefault(event_type, len(self._type_ids)))
        self.by_persistence.add(persisted, number)
        self.by_published.add(published, number)

    def persisted(self, number: int) -> int:
        """Return when an event was persisted, in milliseconds."""
        return self._persisted[number]

    def body(self, number: int) -> bytes:
        """Return an event as it is sent."""
        form = self._drawn[number]
        return (
            self._kept[number] if form == _KEPT else self._forms[form].fill(number, self._published[number])
        )

    def event(self, number: int) -> Any:
        """Return an event as JSON reads it; None when it cannot be read."""
        try:
            return json.loads(self.body(number).decode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError):
            return None

    def selector(self, wanted: scim.Filter) -> Callable[[int], bool]:
        """Return the filter's verdict on the events of this record, by number.

        A filter on nothing but the event type is answered from a column, without reading an event.
        """
        if wanted.paths <= {("eventType",)}:
            verdicts = [wanted.matches(_event_type(name)) for name in self._type_ids]
            return lambda number: verdicts[self._types[number]]

        def matches(number: int) -> bool:
            event = self.event(number)
            return wanted.matches(lambda path: scim.values_at(event, path))

        return matches

    def _form_id(self, form: Form) -> int:
        if form not in self._form_ids:
            self._form_ids[form] = len(self._forms)
            self._forms.append(form)
        return self._form_ids[form]


def _event_type(name: str) -> scim.Lookup:
    return lambda _: [name] if name else []


def _essence(body: bytes, persisted: int) -> tuple[str, int]:
    """Return the type and the published time that a body states, found even where JSON cannot be read."""
    try:
        event = json.loads(body.decode("utf-8", "surrogateescape"))
        fields = event if isinstance(event, dict) else {}
        event_type, published = fields.get("eventType"), fields.get("published")
    except (ValueError, RecursionError):
        event_type, published = (
            found[1].decode("utf-8", "replace") if (found := pattern.search(body)) else None
            for pattern in (_EVENT_TYPE, _PUBLISHED)
        )
    return event_type if isinstance(event_type, str) else "", _published(published, persisted)


def _published(value: object, otherwise: int) -> int:
    try:
        return times.read(value) if isinstance(value, str) else otherwise
    except (ValueError, OverflowError):
        return otherwise
