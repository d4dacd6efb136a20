"""One LogEvent, as narrow as can be, and more of it for who asks.

Everything in an event was typed by a stranger, and Okta adds and changes properties without notice.
So rules never look at fields but read the *accessors* (``client_ip``, ``actor_id``, ``is_proxy``, …),
which give a value of the right type or None, never an exception, and text of bounded length that
both databases accept.

A page is decoded in three depths, since 98 events of a hundred concern nobody. At once: what makes an
event rememberable, and what the default rule decides by. When the first other accessor is read: the
fields of ``wire.Fields``, out of the event's own slice of the page. When somebody asks for ``body()``:
everything, for the context of the few events that match, and for a rule that a user wrote. Where rules
look back, what history remembers of every event comes with its page (``strict_event``).

Okta: https://developer.okta.com/docs/api/openapi/okta-management/management/tag/SystemLog/
"""

from datetime import datetime
from typing import Any, Self

import msgspec
from msgspec import Struct

from oktawatch.model.lenient_json import parse_json
from oktawatch.model.privacy import NOTHING, means_nothing, redact_body
from oktawatch.model.sanitize import LONGEST_TEXT, clean_json, clean_text, is_clean, needs_cleaning, shorten
from oktawatch.model.timestamps import canonical, from_text
from oktawatch.model.wire import (
    Actor,
    AuthenticationContext,
    Client,
    DebugContext,
    DebugData,
    Fields,
    GeographicalContext,
    IpDetails,
    NotAnObject,
    Outcome,
    ProxyMark,
    SecurityContext,
    UserAgent,
)

LONGEST_UUID = 255

_INTEGERS = range(2**63)
_NO_DOMAIN = "."
"""How Okta writes that a network has no domain."""
_NO_DEBUG_DATA = DebugData()
_decode_fields = msgspec.json.Decoder(Fields).decode


class UnusableEventError(ValueError):
    """An event without a usable uuid or published: nothing can be remembered of it."""


class Event(Struct, gc=False):
    """One LogEvent. Made by ``Event.from_body`` or by a page's decoder, which calls ``accept``.

    After ``accept``, ``uuid`` is text and ``published`` is canonical text.
    """

    uuid: Any = None
    published: Any = None
    eventType: Any = None
    securityContext: ProxyMark | NotAnObject = None
    # These two exist on the wire too, if somebody types them; `accept` overwrites them.
    raw: Any = None
    known: Fields | NotAnObject = None

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
        self.known = None

    def body(self) -> dict[str, Any]:
        """Parse the whole event: a new dict, cleaned, with what must be hidden hidden."""
        raw = bytes(self.raw)
        try:
            body = msgspec.json.decode(raw)
            clean = is_clean(raw)
        except (ValueError, RecursionError):
            # A field that the narrow decoding skipped is odd: invalid UTF-8, 1e400, absurd nesting.
            body, clean = parse_json(raw), False
        redacted: dict[str, Any] = redact_body(body if clean else clean_json(body))
        return redacted

    @property
    def fields(self) -> Fields:
        """What accessors read, decoded when the first of them asks: clean, and what must be hidden is hidden."""
        fields = self.known
        if not isinstance(fields, Fields):
            raw = bytes(self.raw)
            try:
                fields = None if needs_cleaning(raw) else _decode_fields(raw)
            except (ValueError, RecursionError):
                fields = None
            if fields is None or _must_be_redacted(fields.actor):
                fields = msgspec.convert(self.body(), Fields)
            self.known = fields
        return fields

    @property
    def published_at(self) -> datetime:
        """Event time."""
        return from_text(self.published)

    @property
    def event_type(self) -> str:
        """Okta's event type, or empty text."""
        kind = text_of(self.eventType) or ""
        return clean_text(kind) if "\0" in kind else kind

    @property
    def is_proxy(self) -> bool | None:
        """Whether Okta calls the client's address an anonymizing proxy. Only JSON's true is True."""
        context = self.securityContext
        found = context.isProxy if isinstance(context, ProxyMark) else None
        return found if isinstance(found, bool) else None

    @property
    def actor_id(self) -> str | None:
        """Okta's id of the actor; None when unknown."""
        actor = self.fields.actor
        return meaning_of(actor.id) if isinstance(actor, Actor) else None

    @property
    def actor_alternate_id(self) -> str | None:
        """The user name as typed, ``redacted`` where it may be a password."""
        actor = self.fields.actor
        return meaning_of(actor.alternateId) if isinstance(actor, Actor) else None

    @property
    def actor_display_name(self) -> str | None:
        """The actor's name."""
        actor = self.fields.actor
        return text_of(actor.displayName) if isinstance(actor, Actor) else None

    @property
    def client_ip(self) -> str | None:
        """The client's address as Okta gives it (not checked to be one)."""
        client = self.fields.client
        return meaning_of(client.ipAddress) if isinstance(client, Client) else None

    @property
    def user_agent(self) -> str | None:
        """The raw User-Agent header."""
        client = self.fields.client
        agent = client.userAgent if isinstance(client, Client) else None
        return text_of(agent.rawUserAgent) if isinstance(agent, UserAgent) else None

    @property
    def country(self) -> str | None:
        """Where the client's address is said to be."""
        place = self._place
        return text_of(place.country) if place else None

    @property
    def city(self) -> str | None:
        """Where the client's address is said to be."""
        place = self._place
        return text_of(place.city) if place else None

    @property
    def _place(self) -> GeographicalContext | None:
        client = self.fields.client
        place = client.geographicalContext if isinstance(client, Client) else None
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
        found = (meaning_of(value) for value in self._networks(field) if value != _NO_DOMAIN)
        return next((text for text in found if text), None)

    def _networks(self, field: str) -> list[Any]:
        context = self.fields.securityContext
        if not isinstance(context, SecurityContext):
            return []
        found = [getattr(context, field)]
        if isinstance(context.ipDetails, IpDetails):
            found.append(getattr(context.ipDetails, field))
        return found

    @property
    def outcome_result(self) -> str | None:
        """How it ended: ``SUCCESS``, ``FAILURE``, ``ALLOW`` and others."""
        outcome = self.fields.outcome
        return text_of(outcome.result) if isinstance(outcome, Outcome) else None

    @property
    def outcome_reason(self) -> str | None:
        """Why, for example ``INVALID_CREDENTIALS``."""
        outcome = self.fields.outcome
        return text_of(outcome.reason) if isinstance(outcome, Outcome) else None

    @property
    def external_session_id(self) -> str | None:
        """The session; None when unknown."""
        context = self.fields.authenticationContext
        return meaning_of(context.externalSessionId) if isinstance(context, AuthenticationContext) else None

    @property
    def root_session_id(self) -> str | None:
        """The session that this one came from; None when unknown."""
        context = self.fields.authenticationContext
        return meaning_of(context.rootSessionId) if isinstance(context, AuthenticationContext) else None

    @property
    def debug_data(self) -> DebugData:
        """The keys of debugData that detections read; an empty one when there is none."""
        context = self.fields.debugContext
        data = context.debugData if isinstance(context, DebugContext) else None
        return data if isinstance(data, DebugData) else _NO_DEBUG_DATA

    @property
    def dt_hash(self) -> str | None:
        """The hash of the device token; None when unknown."""
        return meaning_of(self.debug_data.dtHash)

    @property
    def ip_service_categories(self) -> list[Any]:
        """What kind of service the address belongs to, as Okta lists it in ipDetails."""
        context = self.fields.securityContext
        details = context.ipDetails if isinstance(context, SecurityContext) else None
        found = details.ipServiceCategories if isinstance(details, IpDetails) else None
        return found if isinstance(found, list) else []

    @property
    def p_enrichment(self) -> Any:
        """What an enrichment on the way wrote beside Okta's own fields."""
        return self.fields.p_enrichment


def _must_be_redacted(actor: Any) -> bool:
    return isinstance(actor, Actor) and means_nothing(actor.id)


def text_of(value: Any) -> str | None:
    """Give a text of ``fields``, of bounded length; None for what is none, and for an empty one."""
    if not isinstance(value, str) or not value:
        return None
    return value if len(value) <= LONGEST_TEXT else shorten(value)


def meaning_of(value: Any) -> str | None:
    """Give a text of ``fields``, of bounded length; None for what stands for nothing."""
    if not isinstance(value, str) or value in NOTHING:
        return None
    return value if len(value) <= LONGEST_TEXT else shorten(value)
