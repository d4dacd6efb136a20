"""Decode a page's body into events: only the fields that are used, tolerantly, once.

The fast path decodes the whole body into ``Event`` structs, and once more into the slice of the body that
belongs to each. The decoder checks types and lengths, and refuses a whole body for one odd value that a
stranger typed. Such a page takes the slow path, element by element, which loses nothing of the other
events. An element that no event can be built from is returned with its bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from oktawatch.model.event import Event, UnusableEventError
from oktawatch.model.lenient_json import TooManyElementsError, cut_list
from oktawatch.model.rejected import RejectedEvent
from oktawatch.model.sanitize import needs_cleaning
from oktawatch.model.timestamps import are_canonical

MOST_ELEMENTS = 10_000
"""Ten times as many as Okta puts on a page."""
_COMMAS = 100  # in an ordinary event

_decode_events = msgspec.json.Decoder(list[Event]).decode
_decode_slices = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Decoded:
    """The content of a body."""

    events: Sequence[Event]
    """In Okta's order, each uuid once: the first of a page counts."""
    rejected: list[RejectedEvent]
    count: int
    """Elements of the list, usable or not."""


def decode(body: bytes, *, at_most: int = MOST_ELEMENTS) -> Decoded:
    """Return the events of a body; raise ValueError when it is no JSON list, or one of more than ``at_most`` elements."""
    slices = _slices(body, at_most)
    events = _ordinary_events(body, slices)
    if events is not None:
        return Decoded(events, [], len(slices))
    usable: dict[str, Event] = {}
    rejected: list[RejectedEvent] = []
    for raw in map(bytes, slices):
        try:
            event = Event.from_json(raw)
        except UnusableEventError as error:
            rejected.append(RejectedEvent(str(error), raw))
        else:
            usable.setdefault(event.uuid, event)
    return Decoded(list(usable.values()), rejected, len(slices))


def _slices(body: bytes, at_most: int) -> Sequence[bytes | msgspec.Raw]:
    """Return the part of the body that belongs to each element."""
    if body.count(b",") > _COMMAS * at_most:
        cut_list(body, at_most=at_most)  # counts first: the slices of a million elements take 60 MB
    try:
        slices: Sequence[msgspec.Raw] = _decode_slices(body)
    except (ValueError, RecursionError):
        return cut_list(body, at_most=at_most)
    if len(slices) > at_most:
        raise TooManyElementsError(f"more than {at_most} elements")
    return slices


def _ordinary_events(body: bytes, slices: Sequence[bytes | msgspec.Raw]) -> list[Event] | None:
    """Return the events of a body that is ordinary throughout, decoded at once; else None."""
    if needs_cleaning(body):
        return None
    try:
        events = _decode_events(body)
    except (ValueError, RecursionError):
        return None
    if len({event.uuid for event in events}) < len(events):
        return None
    if not are_canonical([event.published for event in events]):
        return None
    for event, raw in zip(events, slices, strict=True):
        event.accept(raw)
    return events
