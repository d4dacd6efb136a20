"""What history has of an event, for detections that look at more than one.

A row of ``history`` has just the columns that windowed detections decide by and show. They decide by
these columns alone, for an event that just arrived as for an old one. So it makes no difference when an
event arrived or which page it was on.
"""

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

import msgspec
from msgspec import Struct

from oktawatch.model.event import Event
from oktawatch.model.risk import POSITIVE

Column = Literal[
    "actor_id", "actor_alternate_id", "client_ip", "external_session_id", "root_session_id", "dt_hash"
]
"""A column that history can be searched by."""


class Path(str):
    """Where a column's value is in an event's JSON, dotted."""

    __slots__ = ()


class HistoryRow(Struct, gc=False):
    """One event, reduced to the columns of ``history``.

    To add a column, append it here, named like the accessor of ``Event`` that it takes its value from,
    with its place in an event's JSON, and write a migration that makes the view ``history`` anew. Columns
    are stored by their place, so a new one goes last, and needs a default: older rows lack it.
    """

    published: str
    """Canonical text."""
    uuid: str
    event_type: Annotated[str, Path("eventType")]
    actor_id: Annotated[str | None, Path("actor.id")] = None
    actor_alternate_id: Annotated[str | None, Path("actor.alternateId")] = None
    actor_display_name: Annotated[str | None, Path("actor.displayName")] = None
    client_ip: Annotated[str | None, Path("client.ipAddress")] = None
    user_agent: Annotated[str | None, Path("client.userAgent.rawUserAgent")] = None
    external_session_id: Annotated[str | None, Path("authenticationContext.externalSessionId")] = None
    root_session_id: Annotated[str | None, Path("authenticationContext.rootSessionId")] = None
    """The session that this one came from; the session itself where the event names no other."""
    dt_hash: Annotated[str | None, Path("debugContext.debugData.dtHash")] = None
    outcome: Annotated[str | None, Path("outcome.result")] = None
    outcome_reason: Annotated[str | None, Path("outcome.reason")] = None
    is_proxy: Annotated[bool | None, Path("securityContext.isProxy")] = None
    risk: Annotated[str | None, Path("securityContext.risk.level")] = None
    """The level in capitals."""
    behaviours: str | None = None
    """The observed ones, a JSON array of texts; None when there are none."""
    country: Annotated[str | None, Path("client.geographicalContext.country")] = None
    city: Annotated[str | None, Path("client.geographicalContext.city")] = None
    as_number: Annotated[int | None, Path("securityContext.asNumber")] = None
    operators: Annotated[str | None, Path("debugContext.debugData.associatedProxies")] = None
    """The operators of the anonymizers behind the address, a JSON array of texts; None when there are none."""
    target_id: str | None = None
    """Of the first target."""
    target_type: str | None = None
    """Of the first target."""
    app: str | None = None
    """The name of the first target that is an app."""
    factor: Annotated[str | None, Path("debugContext.debugData.factor")] = None
    device_id: Annotated[str | None, Path("device.id")] = None
    api_token_id: Annotated[str | None, Path("debugContext.debugData.requestApiTokenId")] = None
    client_device: Annotated[str | None, Path("client.device")] = None
    client_zone: Annotated[str | None, Path("client.zone")] = None
    # No column:
    event: Event | None = None
    """The whole event, when it came with the page that is being processed."""

    @classmethod
    def of(cls, event: Event) -> "HistoryRow":
        """Return the row of an event: what its accessors return."""
        row = cls(*_values_of(event))
        row.event = event
        return row

    @property
    def columns(self) -> tuple[Any, ...]:
        """The values of the columns of ``history``, in their order."""
        return msgspec.structs.astuple(self)[: len(COLUMNS)]

    @property
    def outcome_result(self) -> str | None:
        """``outcome``, by the name of the event's accessor."""
        return self.outcome

    def observed(self) -> frozenset[str]:
        """Return the behaviours that were observed."""
        return frozenset(msgspec.json.decode(self.behaviours)) if self.behaviours else frozenset()

    def whole(self) -> Event:
        """Return the event itself, or as much of it as the columns hold."""
        return self.event or Event.from_body(self._body())

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"uuid": self.uuid, "published": self.published}
        for name, path in _PATHS.items():
            value = getattr(self, name)
            if value is not None:
                *parents, key = path.split(".")
                place = body
                for parent in parents:
                    place = place.setdefault(parent, {})
                place[key] = value
        if observed := self.observed():
            listed = [{"name": name, "result": POSITIVE} for name in sorted(observed)]
            body.setdefault("securityContext", {})["userBehaviors"] = listed
        if targets := self._targets():
            body["target"] = targets
        return body

    def _targets(self) -> list[dict[str, Any]]:
        app = {"type": "AppInstance", "displayName": self.app}
        first = {"id": self.target_id, "type": self.target_type}
        if self.target_type == app["type"]:
            return [first | app]
        if self.app is not None:
            return [first, app]
        return [first] if self.target_id or self.target_type else []


COLUMNS = HistoryRow.__struct_fields__[: HistoryRow.__struct_fields__.index("event")]
"""The names of the columns of ``history``, in their order."""

_PATHS = {
    name: path
    for name, hint in get_type_hints(HistoryRow, include_extras=True).items()
    for path in getattr(hint, "__metadata__", ())
}
_values_of = attrgetter(*("outcome_result" if name == "outcome" else name for name in COLUMNS))


ROW_BYTES = 1_200
"""Memory that a row takes apart from the characters of its texts, its share of the rules' buffers included."""

_NON_ASCII_BYTES = 8
"""Memory of a character in a text that is not all ASCII: up to 4 bytes, and up to 4 of the UTF-8 form that Python keeps."""

_texts = attrgetter(*(name for name in COLUMNS if name not in {"is_proxy", "as_number"}))


def memory_of(rows: Sequence[HistoryRow]) -> int:
    """Return an upper bound of the memory that rows take, in bytes, without their events."""
    texts = [text for text in chain.from_iterable(map(_texts, rows)) if text]
    size = ROW_BYTES * len(rows) + sum(map(len, texts))
    if "".join(texts).isascii():
        return size
    return size + (_NON_ASCII_BYTES - 1) * sum(len(text) for text in texts if not text.isascii())


class TimeRange(NamedTuple):
    """A range of time, and the values of a column whose rows in it are wanted."""

    since: str
    """Canonical text, itself included."""
    until: str
    """Canonical text, itself included."""
    values: frozenset[str]


class SeenQuery(NamedTuple):
    """The query whether an event's key had another event in the time before it."""

    value: str
    """The event's value of the column that is searched."""
    since: str
    """Canonical text, itself included."""
    published: str
    """The event's own time, included: rows up to it are earlier, except for the event itself."""
    uuid: str
    """The event's own."""
