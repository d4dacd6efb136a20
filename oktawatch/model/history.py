"""The columns of an event that are stored for windowed rules.

Windowed rules read only these columns, of new events as well as of stored ones. Results therefore don't depend
on when or on which page an event arrived.
"""

from collections.abc import Sequence
from itertools import chain, filterfalse
from operator import attrgetter
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

import msgspec
from msgspec import Struct

from oktawatch.model.anonymizer_kind import Anonymizer
from oktawatch.model.anonymizers import SIGNAL_COLUMNS
from oktawatch.model.event import Event
from oktawatch.model.risk import POSITIVE

Column = Literal[
    "actor_id", "actor_alternate_id", "client_ip", "external_session_id", "root_session_id", "dt_hash"
]
"""A column by which history can be searched."""


SIGN_IN = "user.session.start"
"""The event type that always goes into history, regardless of the enabled rules."""


class Path(str):
    """The dotted path of a column's value in an event's JSON."""

    __slots__ = ()


class HistoryRow(Struct, gc=False):
    """An event, reduced to the columns of ``history``.

    To add a column, append it to the columns with its path in an event's JSON. Name it like the accessor of ``Event`` that
    returns its value. Write a migration that recreates the view ``history``. Columns are stored by position, and
    older rows lack a new column, so the new column must be the last and have a default.
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
    """The session from which this session was derived. Equal to ``external_session_id`` if the event names none."""
    dt_hash: Annotated[str | None, Path("debugContext.debugData.dtHash")] = None
    outcome: Annotated[str | None, Path("outcome.result")] = None
    outcome_reason: Annotated[str | None, Path("outcome.reason")] = None
    is_proxy: Annotated[bool | None, Path("securityContext.isProxy")] = None
    risk: Annotated[str | None, Path("securityContext.risk.level")] = None
    """The risk level in capitals."""
    behaviours: str | None = None
    """The observed behaviours as a JSON array of strings. None if there are none."""
    country: Annotated[str | None, Path("client.geographicalContext.country")] = None
    city: Annotated[str | None, Path("client.geographicalContext.city")] = None
    as_number: Annotated[int | None, Path("securityContext.asNumber")] = None
    operators: str | None = None
    """The operators of the anonymizers behind the address as a JSON array of strings. None if there are none."""
    target_id: str | None = None
    """The id of the first target."""
    target_type: str | None = None
    """The type of the first target."""
    app: str | None = None
    """The name of the first target that is an app, or else its id."""
    factor: Annotated[str | None, Path("debugContext.debugData.factor")] = None
    device_id: Annotated[str | None, Path("device.id")] = None
    api_token_id: Annotated[str | None, Path("debugContext.debugData.requestApiTokenId")] = None
    client_device: Annotated[str | None, Path("client.device")] = None
    client_zone: Annotated[str | None, Path("client.zone")] = None
    anonymous_tunnel: bool | None = None
    """True if debugData's ``tunnels`` contain an anonymous tunnel."""
    anonymous_service: bool | None = None
    """True if the address has an anonymous service category."""
    associated_proxy: bool | None = None
    """True if Okta associates proxies with the address."""
    # Not columns:
    event: Event | None = None
    """The whole event, if it belongs to the current page."""
    anonymizer: Anonymizer | None = None
    """The anonymizer of a sign-in on the current page, if an anonymizer mark is present."""

    @classmethod
    def of(cls, event: Event) -> "HistoryRow":
        """Build the row of an event from the values of its accessors."""
        row = cls(*_values_of(event))
        row.event = event
        return row

    @property
    def columns(self) -> tuple[Any, ...]:
        """The values of the columns of ``history``, in the order of the table."""
        return msgspec.structs.astuple(self)[: len(COLUMNS)]

    @property
    def outcome_result(self) -> str | None:
        """The same as ``outcome``, under the name of the event's accessor."""
        return self.outcome

    @property
    def is_anonymized(self) -> bool:
        """Whether any anonymizer mark is present."""
        return bool(self.is_proxy or self.anonymous_tunnel or self.anonymous_service or self.associated_proxy)

    def observed(self) -> frozenset[str]:
        """Return the names of the observed behaviours."""
        return frozenset(msgspec.json.decode(self.behaviours)) if self.behaviours else frozenset()

    def full_event(self) -> Event:
        """Return the event, or an event rebuilt from the columns."""
        return self.event or Event.from_body(self._body())

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"uuid": self.uuid, "published": self.published}
        for name, path in _PATHS.items():
            value = getattr(self, name)
            if value is not None:
                *parents, key = path.split(".")
                parent_object = body
                for parent in parents:
                    parent_object = parent_object.setdefault(parent, {})
                parent_object[key] = value
        if observed := self.observed():
            behaviours = [{"name": name, "result": POSITIVE} for name in sorted(observed)]
            body.setdefault("securityContext", {})["userBehaviors"] = behaviours
        if targets := self._targets():
            body["target"] = targets
        self._add_services(body)
        return body

    def _add_services(self, body: dict[str, Any]) -> None:
        """Add the anonymizer marks of the row.

        The row doesn't store which mark named which operator, so the first mark that is present gets all operators. Rows
        older than the columns of the marks have only operators, which become associated proxies.
        """
        operators: list[str | None] = msgspec.json.decode(self.operators) if self.operators else []
        debug_data = body.setdefault("debugContext", {}).setdefault("debugData", {})
        if operators and (self.associated_proxy or not (self.anonymous_tunnel or self.anonymous_service)):
            debug_data["associatedProxies"], operators = operators, []
        if self.anonymous_tunnel:
            named, operators = operators or [None], []
            debug_data["tunnels"] = [{"anonymous": True, "operator": operator} for operator in named]
        if self.anonymous_service:
            categories = [{"isAnonymous": True, "operator": operator} for operator in operators or [None]]
            details = body.setdefault("securityContext", {}).setdefault("ipDetails", {})
            details["ipServiceCategories"] = categories

    def _targets(self) -> list[dict[str, Any]]:
        app = {"type": "AppInstance", "displayName": self.app}
        first = {"id": self.target_id, "type": self.target_type}
        if self.target_type == app["type"]:
            return [first | app]
        if self.app is not None:
            return [first, app]
        return [first] if self.target_id or self.target_type else []


COLUMNS = HistoryRow.__struct_fields__[: HistoryRow.__struct_fields__.index("event")]
"""The names of the columns of ``history``, in the order of the table."""

_PATHS = {
    name: path
    for name, hint in get_type_hints(HistoryRow, include_extras=True).items()
    for path in getattr(hint, "__metadata__", ())
}
_values_of = attrgetter(*("outcome_result" if name == "outcome" else name for name in COLUMNS))

ROW_BYTES = 1_200
"""Bytes of a row without the characters of its strings, including its share of the rules' buffers."""

_NON_ASCII_BYTES = 8
"""Bytes of a character in a non-ASCII string: up to 4, and up to 4 more in the UTF-8 form that Python caches."""

FLAGS = frozenset(SIGNAL_COLUMNS.values())
"""The boolean columns."""
_texts = attrgetter(*(name for name in COLUMNS if name not in FLAGS | {"as_number"}))


def memory_of(rows: Sequence[HistoryRow]) -> int:
    """Return an upper bound of the memory of rows, in bytes, without their events."""
    texts = list(filter(None, chain.from_iterable(map(_texts, rows))))
    non_ascii = filterfalse(str.isascii, texts)
    return ROW_BYTES * len(rows) + sum(map(len, texts)) + (_NON_ASCII_BYTES - 1) * sum(map(len, non_ascii))


class TimeRange(NamedTuple):
    """A query for the rows in a time range that have one of these values in a column."""

    since: str
    """Canonical text, inclusive."""
    until: str
    """Canonical text, inclusive."""
    values: frozenset[str]


class SeenQuery(NamedTuple):
    """A query for an earlier event with the same value in a column."""

    value: str
    """The value of both events in the column."""
    since: str
    """Canonical text, inclusive."""
    published: str
    """The time of the later event. Another event at the same time counts as earlier."""
    uuid: str
    """The uuid of the later event."""
