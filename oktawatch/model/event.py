"""One LogEvent, narrow: the fields that detections, history and the alerts' columns use.

Everything in an event was typed by a stranger, and Okta adds and changes properties without notice.
So each field may hold any JSON value: where an object is expected, anything else decodes too and
then gives nothing. Fields are spelled as on the wire; rules never look at them but read the
*accessors* (``client_ip``, ``actor_id``, ``is_proxy``, …), which give a value of the right type or
None, never an exception, and text of bounded length that both databases accept.

The event's own slice of the page stays beside it and is parsed again, whole, only when somebody asks
for ``body()``: for the context of the few events that match, and for a rule that a user wrote.

Okta: https://developer.okta.com/docs/api/openapi/okta-management/management/tag/SystemLog/
"""

import re
from datetime import datetime
from typing import Any, Self

import msgspec
from msgspec import Struct

from oktawatch.model.lenient import DEEPEST, parse_json
from oktawatch.model.privacy import REDACTED, means_nothing, must_hide, redact_body
from oktawatch.model.text import clean_json, clean_text, shorten
from oktawatch.model.timestamps import canonical, from_text

LONGEST_UUID = 255
_ODD = re.compile(
    rb"\\u0000|[0-9]{19}"
).search  # what JSON's strict parser lets through and clean_json changes

NotAnObject = str | int | float | bool | list[Any] | None
"""What may stand where an object is expected."""

_INTEGERS = range(2**63)


class UnusableEventError(ValueError):
    """An event without a usable uuid or published: nothing can be remembered of it."""


class Actor(Struct, gc=False):
    """Who did it."""

    id: Any = None
    alternateId: Any = None
    displayName: Any = None


class UserAgent(Struct, gc=False):
    """The client's program."""

    rawUserAgent: Any = None


class GeographicalContext(Struct, gc=False):
    """Where an address is said to be."""

    city: Any = None
    country: Any = None


class Client(Struct, gc=False):
    """Where the request came from."""

    ipAddress: Any = None
    userAgent: UserAgent | NotAnObject = None
    geographicalContext: GeographicalContext | NotAnObject = None


class Outcome(Struct, gc=False):
    """How it ended."""

    result: Any = None
    reason: Any = None


class IpDetails(Struct, gc=False):
    """What Okta knows about the client's network."""

    asNumber: Any = None
    asOrg: Any = None
    isp: Any = None
    domain: Any = None
    ipServiceCategories: Any = None


class SecurityContext(Struct, gc=False):
    """What Okta thinks of the client's network, risk and behaviour."""

    asNumber: Any = None
    asOrg: Any = None
    isp: Any = None
    domain: Any = None
    isProxy: Any = None
    ipDetails: IpDetails | NotAnObject = None
    risk: Any = None
    userBehaviors: Any = None


class AuthenticationContext(Struct, gc=False):
    """Which session it belongs to."""

    externalSessionId: Any = None
    rootSessionId: Any = None


class DebugData(Struct, gc=False):
    """Keys that come and go (Okta: debugData is no contract)."""

    dtHash: Any = None
    tunnels: Any = None
    risk: Any = None
    behaviors: Any = None
    logOnlySecurityData: Any = None


class DebugContext(Struct, gc=False):
    """The wrapper around debugData."""

    debugData: DebugData | NotAnObject = None


class Event(Struct, gc=False):
    """One LogEvent. Made by ``Event.from_body`` or by a page's decoder, which calls ``accept``.

    After ``accept``, ``uuid`` is text and ``published`` is canonical text.
    """

    uuid: Any = None
    published: Any = None
    eventType: Any = None
    actor: Actor | NotAnObject = None
    client: Client | NotAnObject = None
    outcome: Outcome | NotAnObject = None
    securityContext: SecurityContext | NotAnObject = None
    authenticationContext: AuthenticationContext | NotAnObject = None
    debugContext: DebugContext | NotAnObject = None
    p_enrichment: Any = None
    # The event's own JSON. The field exists on the wire too, if somebody types it; `accept` overwrites it.
    raw: Any = None

    def __repr__(self) -> str:
        """Name the event; what it holds, a mistyped password perhaps, stays out of logs and tracebacks."""
        return f"Event(uuid={self.uuid!r}, published={self.published!r})"

    @classmethod
    def from_body(cls, body: dict[str, Any]) -> Self:
        """Make an event of a whole JSON object, cleaned and with what must be hidden hidden.

        Raises UnusableEventError when it has no usable uuid or published.
        """
        body = redact_body(clean_json(body))
        event = msgspec.convert(body, cls)
        event.accept(msgspec.json.encode(body))
        return event

    def accept(self, raw: bytes | msgspec.Raw) -> None:
        """Check what makes the event rememberable, hide what must be hidden, keep its own JSON.

        Raises UnusableEventError with the reason when uuid or published can't be used.
        """
        uuid = self.uuid
        if not isinstance(uuid, str) or not 0 < len(uuid) <= LONGEST_UUID:
            raise UnusableEventError("no usable uuid")
        if "\0" in uuid:
            self.uuid = clean_text(uuid)
        try:
            self.published = canonical(self.published)
        except (ValueError, TypeError):
            raise UnusableEventError("no usable published") from None
        self.raw = raw
        actor = self.actor
        if isinstance(actor, Actor) and means_nothing(actor.id) and must_hide(actor.alternateId):
            if actor.displayName == actor.alternateId and not means_nothing(actor.displayName):
                actor.displayName = REDACTED
            actor.alternateId = REDACTED

    def body(self) -> dict[str, Any]:
        """Parse the whole event: a new dict, cleaned, with what must be hidden hidden."""
        raw = bytes(self.raw)
        try:
            body = msgspec.json.decode(raw)
            # Cleaning costs ten times as much as all the rest, and hardly any event needs it.
            clean = not _ODD(raw) and raw.count(b"{") + raw.count(b"[") <= DEEPEST
        except (ValueError, RecursionError):
            # A field that the narrow decoding skipped is odd: invalid UTF-8, 1e400, absurd nesting.
            body, clean = parse_json(raw), False
        redacted: dict[str, Any] = redact_body(body if clean else clean_json(body))
        return redacted

    @property
    def published_at(self) -> datetime:
        """Event time."""
        return from_text(self.published)

    @property
    def event_type(self) -> str:
        """Okta's event type, or empty text."""
        return _text(self.eventType) or ""

    @property
    def is_proxy(self) -> bool | None:
        """Whether Okta calls the client's address an anonymizing proxy. Only JSON's true is True."""
        context = self.securityContext
        found = context.isProxy if isinstance(context, SecurityContext) else None
        return found if isinstance(found, bool) else None

    @property
    def actor_id(self) -> str | None:
        """Okta's id of the actor; None when unknown."""
        return _meaning(self.actor.id) if isinstance(self.actor, Actor) else None

    @property
    def actor_alternate_id(self) -> str | None:
        """The user name as typed, ``redacted`` where it may be a password."""
        return _meaning(self.actor.alternateId) if isinstance(self.actor, Actor) else None

    @property
    def actor_display_name(self) -> str | None:
        """The actor's name."""
        return _text(self.actor.displayName) if isinstance(self.actor, Actor) else None

    @property
    def client_ip(self) -> str | None:
        """The client's address as Okta gives it (not checked to be one)."""
        return _meaning(self.client.ipAddress) if isinstance(self.client, Client) else None

    @property
    def user_agent(self) -> str | None:
        """The raw User-Agent header."""
        agent = self.client.userAgent if isinstance(self.client, Client) else None
        return _text(agent.rawUserAgent) if isinstance(agent, UserAgent) else None

    @property
    def country(self) -> str | None:
        """Where the client's address is said to be."""
        place = self._place
        return _text(place.country) if place else None

    @property
    def city(self) -> str | None:
        """Where the client's address is said to be."""
        place = self._place
        return _text(place.city) if place else None

    @property
    def _place(self) -> GeographicalContext | None:
        place = self.client.geographicalContext if isinstance(self.client, Client) else None
        return place if isinstance(place, GeographicalContext) else None

    @property
    def as_number(self) -> int | None:
        """The autonomous system's number, from securityContext or else its ipDetails."""
        for found in self._networks("asNumber"):
            if isinstance(found, int) and not isinstance(found, bool) and found in _INTEGERS:
                return found
        return None

    @property
    def as_org(self) -> str | None:
        """The autonomous system's owner, from securityContext or else its ipDetails."""
        return self._network("asOrg")

    @property
    def isp(self) -> str | None:
        """The internet provider, from securityContext or else its ipDetails."""
        return self._network("isp")

    @property
    def domain(self) -> str | None:
        """The network's domain, from securityContext or else its ipDetails."""
        return self._network("domain")

    def _network(self, field: str) -> str | None:
        return next((found for value in self._networks(field) if (found := _meaning(value))), None)

    def _networks(self, field: str) -> list[Any]:
        context = self.securityContext
        if not isinstance(context, SecurityContext):
            return []
        found = [getattr(context, field)]
        if isinstance(context.ipDetails, IpDetails):
            found.append(getattr(context.ipDetails, field))
        return found

    @property
    def outcome_result(self) -> str | None:
        """How it ended: ``SUCCESS``, ``FAILURE``, ``ALLOW`` and others."""
        return _text(self.outcome.result) if isinstance(self.outcome, Outcome) else None

    @property
    def outcome_reason(self) -> str | None:
        """Why, for example ``INVALID_CREDENTIALS``."""
        return _text(self.outcome.reason) if isinstance(self.outcome, Outcome) else None

    @property
    def external_session_id(self) -> str | None:
        """The session; None when unknown."""
        context = self.authenticationContext
        return _meaning(context.externalSessionId) if isinstance(context, AuthenticationContext) else None

    @property
    def root_session_id(self) -> str | None:
        """The session that this one came from; None when unknown."""
        context = self.authenticationContext
        return _meaning(context.rootSessionId) if isinstance(context, AuthenticationContext) else None

    @property
    def debug_data(self) -> DebugData:
        """The keys of debugData that detections read; an empty one when there is none."""
        context = self.debugContext
        data = context.debugData if isinstance(context, DebugContext) else None
        return data if isinstance(data, DebugData) else DebugData()

    @property
    def dt_hash(self) -> str | None:
        """The hash of the device token; None when unknown."""
        return _meaning(self.debug_data.dtHash)

    @property
    def ip_service_categories(self) -> list[Any]:
        """What kind of service the address belongs to, as Okta lists it in ipDetails."""
        context = self.securityContext
        details = context.ipDetails if isinstance(context, SecurityContext) else None
        found = details.ipServiceCategories if isinstance(details, IpDetails) else None
        return found if isinstance(found, list) else []


def _text(value: Any) -> str | None:
    return _fit(value) if isinstance(value, str) and value else None


def _meaning(value: Any) -> str | None:
    return None if means_nothing(value) else _fit(value)


def _fit(text: str) -> str:
    # Lone surrogates never come this far: the fast path refuses them, the slow one replaces them.
    return shorten(clean_text(text) if "\0" in text else text)
