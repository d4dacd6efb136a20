"""Decode the body of a page into events, reading only the fields that are used.

The fast path decodes the whole body twice: into ``Event`` structs, and into the slice of bytes of each element. The
decoder validates types and lengths, and refuses the whole body because of a single invalid value. The slow path then
decodes each element separately. An element that is not a usable event is returned with its bytes.
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
"""The default maximum number of elements: ten times Okta's largest page."""
_COMMAS_PER_EVENT = 100  # about as many as in the JSON of an ordinary event

_decode_events = msgspec.json.Decoder(list[Event]).decode
_decode_slices = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Decoded:
    """The content of a body."""

    events: Sequence[Event]
    """Usable events in Okta's order. Of events with the same uuid, only the first is kept."""
    rejected: list[RejectedEvent]
    count: int
    """The number of elements, usable or not."""


def decode(body: bytes, *, at_most: int = MOST_ELEMENTS) -> Decoded:
    """Decode a body. Raises ValueError if it is not a JSON list, or if it has more than ``at_most`` elements."""
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
    """Split a body into its elements."""
    if body.count(b",") > _COMMAS_PER_EVENT * at_most:
        cut_list(body, at_most=at_most)  # raises if the list is too long, before its slices take much memory
    try:
        slices: Sequence[msgspec.Raw] = _decode_slices(body)
    except (ValueError, RecursionError):
        return cut_list(body, at_most=at_most)
    if len(slices) > at_most:
        raise TooManyElementsError(f"more than {at_most} elements")
    return slices


def _ordinary_events(body: bytes, slices: Sequence[bytes | msgspec.Raw]) -> list[Event] | None:
    """Decode a body on the fast path. Returns None if an event is invalid or needs cleaning, or if a uuid is repeated."""
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
