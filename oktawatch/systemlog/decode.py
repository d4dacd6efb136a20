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

from oktawatch.model.event import Event, UnusableEventError
from oktawatch.model.lenient_json import TooManyElementsError, cut_list, parse_json
from oktawatch.model.rejected import RejectedEvent
from oktawatch.model.sanitize import needs_cleaning
from oktawatch.model.strict_event import StrictEvent
from oktawatch.model.timestamps import are_canonical
from oktawatch.model.wire import NotAnObject

NOT_AN_OBJECT = "not a JSON object"

MOST_ELEMENTS = 10_000
"""Ten times as many as Okta puts on a page."""
_COMMAS = 100  # in an ordinary event

_decode_events = msgspec.json.Decoder(list[Event | NotAnObject]).decode
_decode_ordinary_events = msgspec.json.Decoder(list[StrictEvent]).decode
_decode_slices = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_event = msgspec.json.Decoder(Event | NotAnObject).decode


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a body held."""

    events: Sequence[Event]
    """In Okta's order, one uuid once: the first of a page wins."""
    rejected: list[RejectedEvent]
    count: int
    """Elements of the list, usable or not."""


def decode(body: bytes, *, at_most: int = MOST_ELEMENTS, deep: bool = False) -> Decoded:
    """Decode a body into events; raise ValueError when it is no JSON list, or one of more than ``at_most`` elements.

    ``deep``: every event will be remembered in history.
    """
    try:
        slices = _slices(body, at_most)
        ordinary = _ordinary_events(body, slices) if deep else None
        found = ordinary or _decode_events(body)
    except TooManyElementsError:
        raise
    except (ValueError, RecursionError):
        elements = cut_list(body, at_most=at_most)
        return _collect(map(_decode_leniently, elements), elements)
    return Decoded(ordinary, [], len(slices)) if ordinary else _collect(found, slices)


def _slices(body: bytes, at_most: int) -> Sequence[msgspec.Raw]:
    if body.count(b",") > _COMMAS * at_most:
        cut_list(body, at_most=at_most)  # counted first: the slices of a million elements take 60 MB
    slices: Sequence[msgspec.Raw] = _decode_slices(body)
    if len(slices) > at_most:
        raise TooManyElementsError(f"more than {at_most} elements")
    return slices


def _ordinary_events(body: bytes, slices: Sequence[msgspec.Raw]) -> Sequence[Event] | None:
    """Decode what history remembers, too; None where a page is not ordinary throughout.

    What makes an event rememberable is known of all of them at once: the decoder has looked at the uuids.
    """
    if needs_cleaning(body):
        return None
    try:
        events = _decode_ordinary_events(body)
    except (ValueError, RecursionError):
        return None
    if len({event.uuid for event in events}) < len(events):
        return None
    if not are_canonical([event.published for event in events]):
        return None
    for event, raw in zip(events, slices, strict=True):
        event.raw, event.known = raw, None
    return events


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
