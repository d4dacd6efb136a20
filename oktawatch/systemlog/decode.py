"""A page's body, made into events: narrow, tolerant, once.

Two ways lead through here. The fast one decodes the whole body at once into ``Event`` structs, and once
more into the slices of it that belong to them. A strict parser refuses a body whole for one odd
character that a stranger typed, so whatever it refuses takes the slow way, element by element, which
loses nothing of the others. What no event can be made of is handed back with its bytes.

How deep to decode is a question of speed alone: an event reads what was left out when somebody asks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from oktawatch.model.event import Event, UnusableEventError, needs_cleaning
from oktawatch.model.lenient import cut_list, parse_json
from oktawatch.model.ordinary import OrdinaryEvent
from oktawatch.model.rejected import RejectedEvent
from oktawatch.model.wire import NotAnObject

NOT_AN_OBJECT = "not a JSON object"

_decode_events = msgspec.json.Decoder(list[Event | NotAnObject]).decode
_decode_ordinary_events = msgspec.json.Decoder(list[OrdinaryEvent]).decode
_decode_slices = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_event = msgspec.json.Decoder(Event | NotAnObject).decode


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a body held."""

    events: list[Event]
    """In Okta's order, one uuid once: the first of a page wins."""
    rejected: list[RejectedEvent]
    count: int
    """Elements of the list, usable or not."""


def decode(body: bytes, *, deep: bool = False) -> Decoded:
    """Make events of a body; raise ValueError when it is no JSON list at all.

    ``deep``: every event will be remembered in history.
    """
    try:
        found: list[Any] = (_ordinary_events(body) if deep else None) or _decode_events(body)
        slices: list[msgspec.Raw] = _decode_slices(body)
    except (ValueError, RecursionError):
        elements = cut_list(body)
        return _collect(map(_decode_leniently, elements), elements)
    return _collect(found, slices)


def _ordinary_events(body: bytes) -> list[Any] | None:
    """Decode what history remembers, too; None where a page is not ordinary throughout."""
    if needs_cleaning(body):
        return None
    try:
        return _decode_ordinary_events(body)
    except (ValueError, RecursionError):
        return None


def _decode_leniently(element: bytes) -> Any:
    """Make what can be made of one element: an Event, an object no event can be made of, or another value."""
    try:
        return _decode_event(element)
    except (ValueError, RecursionError):
        return parse_json(element)


def _collect(found: Iterable[Any], slices: Sequence[bytes | msgspec.Raw]) -> Decoded:
    events: list[Event] = []
    rejected: list[RejectedEvent] = []
    seen: set[str] = set()
    for value, raw in zip(found, slices, strict=True):
        try:
            if isinstance(value, Event):
                event = value
                event.accept(raw)
            else:
                event = _event_of(value)
        except UnusableEventError as error:
            rejected.append(RejectedEvent(str(error), bytes(raw)))
            continue
        uuid = event.uuid
        if uuid not in seen:
            seen.add(uuid)
            events.append(event)
    return Decoded(events, rejected, len(slices))


def _event_of(value: Any) -> Event:
    if isinstance(value, dict):
        return Event.from_body(value)
    raise UnusableEventError(NOT_AN_OBJECT)
