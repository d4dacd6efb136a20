"""What is remembered of an event for detections that look at more than one.

A row of ``history`` has just the columns that windowed detections decide by and show. They decide by
these columns alone, for an event that just came as for one that lies back, so that it makes no
difference when an event came or what page it was on.
"""

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct

from oktawatch.model import strict_event, wire
from oktawatch.model.event import Event, meaning_of, text_of
from oktawatch.model.privacy import NOTHING
from oktawatch.model.risk import NOTHING_SAID, POSITIVE, assess
from oktawatch.model.strict_event import StrictEvent

Column = Literal[
    "actor_id", "actor_alternate_id", "client_ip", "external_session_id", "root_session_id", "dt_hash"
]
"""A column that history can be searched by."""


_NOTHING = NOTHING | {None}
_NO_CLIENT, _NO_OUTCOME, _NO_SESSIONS = (
    strict_event.Client(),
    strict_event.Outcome(),
    strict_event.AuthenticationContext(),
)
_NO_CONTEXT, _NO_DATA = strict_event.SecurityContext(), strict_event.DebugData()


class HistoryRow(Struct, gc=False):
    """One event, slim. The first fields are the columns of ``history``, in their order.

    Those after the key lie in the database by their place: a new one goes after the last column, has a
    default, since rows that are there lack it, and a migration makes the view ``history`` anew.
    """

    published: str
    """Canonical text."""
    uuid: str
    event_type: str
    actor_id: str | None = None
    actor_alternate_id: str | None = None
    actor_display_name: str | None = None
    client_ip: str | None = None
    user_agent: str | None = None
    external_session_id: str | None = None
    root_session_id: str | None = None
    """The session that this one came from; the session itself where the event names no other."""
    dt_hash: str | None = None
    outcome: str | None = None
    outcome_reason: str | None = None
    is_proxy: bool | None = None
    risk: str | None = None
    """The level in capitals."""
    behaviours: str | None = None
    """The observed ones, a JSON array of texts; None when there is none."""
    # No column:
    event: Event | None = None
    """The whole event, when it came with the page that is being looked at."""

    @classmethod
    def of(cls, event: Event) -> "HistoryRow":
        """Take from an event what is remembered of it: what its accessors give.

        Of an ordinary event types and lengths are known, which leaves a third of the work.
        """
        if not isinstance(event, StrictEvent):
            return _of_any(event)
        actor = event.actor
        if actor is None or actor.id in _NOTHING:
            # A login without an actor's id may have to be hidden, which the event's own fields are.
            return _of_any(event)
        client = event.client or _NO_CLIENT
        outcome = event.outcome or _NO_OUTCOME
        sessions = event.authenticationContext or _NO_SESSIONS
        context = event.securityContext or _NO_CONTEXT
        data = (event.debugContext and event.debugContext.debugData) or _NO_DATA
        login, address, device = actor.alternateId, client.ipAddress, data.dtHash
        session, root = sessions.externalSessionId, sessions.rootSessionId
        if session in _NOTHING:
            session = None
        silent = (
            data.logOnlySecurityData
            is data.risk
            is data.behaviors
            is context.risk
            is context.userBehaviors
            is None
        )
        assessment = NOTHING_SAID if silent else assess(context, data)
        return cls(
            event.published,
            event.uuid,
            event.eventType or "",
            actor.id,
            None if login in _NOTHING else login,
            actor.displayName or None,
            None if address in _NOTHING else address,
            (client.userAgent and client.userAgent.rawUserAgent) or None,
            session,
            session if root in _NOTHING else root,
            None if device in _NOTHING else device,
            outcome.result or None,
            outcome.reason or None,
            context.isProxy,
            assessment.risk,
            _written(assessment.behaviours) if assessment.behaviours else None,
            event,
        )

    @property
    def columns(self) -> tuple[Any, ...]:
        """Give the values of the columns of ``history``, in their order."""
        return msgspec.structs.astuple(self)[: len(COLUMNS)]

    @property
    def outcome_result(self) -> str | None:
        """Give ``outcome`` by the name that an event has for it."""
        return self.outcome

    def observed(self) -> frozenset[str]:
        """Name the behaviours that were observed."""
        return frozenset(msgspec.json.decode(self.behaviours)) if self.behaviours else frozenset()

    def whole(self) -> Event:
        """Give the event itself, or as much of it as was remembered."""
        return self.event or Event.from_body(self._body())

    def _body(self) -> dict[str, Any]:
        agent = {"rawUserAgent": self.user_agent}
        behaviours = [{"name": name, "result": POSITIVE} for name in sorted(self.observed())]
        return {
            "uuid": self.uuid,
            "published": self.published,
            "eventType": self.event_type,
            "actor": {
                "id": self.actor_id,
                "alternateId": self.actor_alternate_id,
                "displayName": self.actor_display_name,
            },
            "client": {"ipAddress": self.client_ip} | ({"userAgent": agent} if self.user_agent else {}),
            "outcome": {"result": self.outcome, "reason": self.outcome_reason},
            "authenticationContext": {
                "externalSessionId": self.external_session_id,
                "rootSessionId": self.root_session_id,
            },
            "securityContext": {
                "isProxy": self.is_proxy,
                "risk": {"level": self.risk} if self.risk else None,
                "userBehaviors": behaviours,
            },
            "debugContext": {"debugData": {"dtHash": self.dt_hash} if self.dt_hash else {}},
        }


COLUMNS = HistoryRow.__struct_fields__[: HistoryRow.__struct_fields__.index("event")]
"""The names of the columns of ``history``, in their order."""


ROW_BYTES = 1_200
"""Memory that a row takes apart from the characters of its texts, its share of the rules' buffers included."""

_NON_ASCII_BYTES = 8
"""Memory of a character in a text that is not all ASCII: up to 4 bytes, and up to 4 of the UTF-8 form that Python keeps."""

_texts = attrgetter(*(name for name in COLUMNS if name != "is_proxy"))


def memory_of(rows: Sequence[HistoryRow]) -> int:
    """Return an upper bound of the memory that rows take, in bytes, without their events."""
    texts = [text for text in chain.from_iterable(map(_texts, rows)) if text]
    size = ROW_BYTES * len(rows) + sum(map(len, texts))
    if "".join(texts).isascii():
        return size
    return size + (_NON_ASCII_BYTES - 1) * sum(len(text) for text in texts if not text.isascii())


def _of_any(event: Event) -> HistoryRow:
    fields = event.fields
    actor = fields.actor if isinstance(fields.actor, wire.Actor) else wire.Actor()
    client = fields.client if isinstance(fields.client, wire.Client) else wire.Client()
    agent = client.userAgent if isinstance(client.userAgent, wire.UserAgent) else wire.UserAgent()
    outcome = fields.outcome if isinstance(fields.outcome, wire.Outcome) else wire.Outcome()
    context = fields.authenticationContext
    sessions = context if isinstance(context, wire.AuthenticationContext) else wire.AuthenticationContext()
    session = meaning_of(sessions.externalSessionId)
    assessment = assess(fields.securityContext, event.debug_data)
    return HistoryRow(
        event.published,
        event.uuid,
        event.event_type,
        meaning_of(actor.id),
        meaning_of(actor.alternateId),
        text_of(actor.displayName),
        meaning_of(client.ipAddress),
        text_of(agent.rawUserAgent),
        session,
        meaning_of(sessions.rootSessionId) or session,
        meaning_of(event.debug_data.dtHash),
        text_of(outcome.result),
        text_of(outcome.reason),
        event.is_proxy,
        assessment.risk,
        _written(assessment.behaviours),
        event,
    )


def _written(behaviours: tuple[str, ...]) -> str | None:
    return msgspec.json.encode(behaviours).decode() if behaviours else None


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
