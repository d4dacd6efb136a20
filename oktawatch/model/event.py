"""One LogEvent: its fields, and safe accessors to them.

Everything in an event was typed by a stranger, and Okta adds and changes properties without notice.
So rules never look at fields but read the *accessors* (``client_ip``, ``actor_id``, ``is_proxy``, …),
which return a value of the right type or None, never an exception, and text of bounded length that
both databases accept.

The page's decoder reads just the fields of ``wire``, which detections, history and alerts use, and checks
their types and lengths. ``body()`` parses the whole event from its own slice of the page: for the context of
the few events that match, and for operators' rules that need it.

Okta: https://developer.okta.com/docs/api/openapi/okta-management/management/tag/SystemLog/
"""

from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Self

import msgspec
from msgspec import Meta, Struct

from oktawatch.model.anonymizers import anonymizer_operators
from oktawatch.model.lenient_json import parse_json
from oktawatch.model.privacy import NOTHING, redact_body
from oktawatch.model.risk import NOTHING_SAID, Assessment, assess
from oktawatch.model.sanitize import clean_json, is_clean, needs_cleaning
from oktawatch.model.timestamps import canonical, from_text
from oktawatch.model.wire import (
    Actor,
    AuthenticationContext,
    Client,
    DebugContext,
    DebugData,
    Device,
    Outcome,
    SecurityContext,
    Target,
    Text,
    Transaction,
    fitting,
)

LONGEST_UUID = 255

_NO_DEBUG_DATA = DebugData()
_APP = "AppInstance"
_UNKNOWN = NOTHING | {None}
_NO_NETWORK = _UNKNOWN | {"."}  # "." is how Okta writes that a network has no domain


class UnusableEventError(ValueError):
    """An event without a usable uuid or published: nothing can be recorded of it."""


class Event(Struct, gc=False):
    """One LogEvent. Built by ``from_json`` or ``from_body``, or by a page's decoder, which calls ``accept``.

    After ``accept``, ``published`` is canonical text.
    """

    uuid: Annotated[str, Meta(min_length=1, max_length=LONGEST_UUID)]
    published: str
    eventType: Text = None
    actor: Actor | None = None
    client: Client | None = None
    device: Device | None = None
    outcome: Outcome | None = None
    securityContext: SecurityContext | None = None
    authenticationContext: AuthenticationContext | None = None
    debugContext: DebugContext | None = None
    transaction: Transaction | None = None
    target: list[Target] | None = None
    p_enrichment: Any = None
    """What an enrichment on the way added to Okta's own fields."""
    raw: Any = None
    """The event's own JSON. A stranger may send this key too; ``accept`` overwrites it."""

    def __repr__(self) -> str:
        """Name the event. Its fields, a mistyped password perhaps, stay out of logs and tracebacks."""
        return f"Event(uuid={self.uuid!r}, published={self.published!r})"

    @classmethod
    def from_body(cls, body: dict[str, Any]) -> Self:
        """Build an event from a whole JSON object of any shape, cleaned and redacted.

        Raises UnusableEventError when it has no usable uuid or published.
        """
        body = redact_body(clean_json(body))
        uuid = body.get("uuid")
        if not isinstance(uuid, str) or not 0 < len(uuid) <= LONGEST_UUID:
            raise UnusableEventError("no usable uuid")
        if not isinstance(body.get("published"), str):
            raise UnusableEventError("no usable published")
        event = msgspec.convert(fitting(body, cls), cls)
        event.published = _canonical(event.published)
        event.raw = msgspec.json.encode(body)
        return event

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """Build an event from its JSON, whatever it is. Raises UnusableEventError with the reason if it can't."""
        event = None
        if not needs_cleaning(raw):
            with suppress(ValueError, RecursionError):
                event = msgspec.json.decode(raw, type=cls)
        if event is None:
            body = parse_json(raw)
            if not isinstance(body, dict):
                raise UnusableEventError("not a JSON object")
            return cls.from_body(body)
        event.published = _canonical(event.published)
        event.accept(raw)
        return event

    def accept(self, raw: bytes | msgspec.Raw) -> None:
        """Store the event's own JSON, and redact what must be hidden. ``published`` is canonical by now."""
        self.raw = raw
        if self.actor is not None and self.actor.id in _UNKNOWN:
            redacted = type(self).from_body(self.body())
            for name in self.__struct_fields__:
                setattr(self, name, getattr(redacted, name))
            self.raw = raw

    def body(self) -> dict[str, Any]:
        """Parse the whole event: a new dict, cleaned and redacted."""
        raw = bytes(self.raw)
        try:
            body = msgspec.json.decode(raw)
            clean = is_clean(raw)
        except (ValueError, RecursionError):
            # A field that the decoder skipped is odd: invalid UTF-8, 1e400, absurd nesting.
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
        return self.eventType or ""

    @property
    def is_proxy(self) -> bool | None:
        """Whether Okta calls the client's address an anonymizing proxy. Only JSON's true is True."""
        return self.securityContext.isProxy if self.securityContext else None

    @property
    def actor_id(self) -> str | None:
        """Okta's id of the actor; None when unknown."""
        return _meaning(self.actor.id) if self.actor else None

    @property
    def actor_alternate_id(self) -> str | None:
        """The user name as typed, ``redacted`` where it may be a password."""
        return _meaning(self.actor.alternateId) if self.actor else None

    @property
    def actor_display_name(self) -> str | None:
        """The actor's name."""
        return (self.actor.displayName or None) if self.actor else None

    @property
    def client_ip(self) -> str | None:
        """The client's address as Okta gives it (not checked to be one)."""
        return _meaning(self.client.ipAddress) if self.client else None

    @property
    def user_agent(self) -> str | None:
        """The raw User-Agent header."""
        agent = self.client.userAgent if self.client else None
        return (agent.rawUserAgent or None) if agent else None

    @property
    def client_device(self) -> str | None:
        """The kind of device, such as ``Computer`` or ``Mobile``."""
        return _meaning(self.client.device) if self.client else None

    @property
    def client_zone(self) -> str | None:
        """The name of the network zone of the client's address."""
        return _meaning(self.client.zone) if self.client else None

    @property
    def country(self) -> str | None:
        """The country of the client's address."""
        place = self.client.geographicalContext if self.client else None
        return (place.country or None) if place else None

    @property
    def city(self) -> str | None:
        """The city of the client's address."""
        place = self.client.geographicalContext if self.client else None
        return (place.city or None) if place else None

    @property
    def as_number(self) -> int | None:
        """The autonomous system's number, from securityContext or else its ipDetails."""
        context = self.securityContext
        if context is None or context.asNumber is not None or context.ipDetails is None:
            return context.asNumber if context else None
        return context.ipDetails.asNumber

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
        context = self.securityContext
        if context is None:
            return None
        found = (getattr(place, field) for place in (context, context.ipDetails) if place is not None)
        return next((text for text in found if text not in _NO_NETWORK), None)

    @property
    def operators(self) -> str | None:
        """The operators of the anonymizers behind the client's address, as a JSON array; None if there are none."""
        found = anonymizer_operators(self.securityContext, self.debug_data)
        return msgspec.json.encode(found).decode() if found else None

    @property
    def outcome_result(self) -> str | None:
        """How it ended: ``SUCCESS``, ``FAILURE``, ``ALLOW`` and others."""
        return (self.outcome.result or None) if self.outcome else None

    @property
    def outcome_reason(self) -> str | None:
        """The reason, for example ``INVALID_CREDENTIALS``."""
        return (self.outcome.reason or None) if self.outcome else None

    @property
    def external_session_id(self) -> str | None:
        """The session; None when unknown."""
        context = self.authenticationContext
        return _meaning(context.externalSessionId) if context else None

    @property
    def root_session_id(self) -> str | None:
        """The session that this one came from, or else the session itself; None when unknown."""
        context = self.authenticationContext
        return (_meaning(context.rootSessionId) or _meaning(context.externalSessionId)) if context else None

    @property
    def factor(self) -> str | None:
        """The factor or credential: debugData's ``factor``, else the credential's type, else its provider."""
        found = _meaning(self.debug_data.factor)
        context = self.authenticationContext
        if found or context is None:
            return found
        return _meaning(context.credentialType) or _meaning(context.credentialProvider)

    @property
    def device_id(self) -> str | None:
        """The id of the registered device."""
        return _meaning(self.device.id) if self.device else None

    @property
    def api_token_id(self) -> str | None:
        """The id of the API token of the request, from debugData or else the transaction."""
        detail = self.transaction.detail if self.transaction else None
        return _meaning(self.debug_data.requestApiTokenId) or (
            _meaning(detail.requestApiTokenId) if detail else None
        )

    @property
    def target_id(self) -> str | None:
        """The id of the first target."""
        return _meaning(self.target[0].id) if self.target else None

    @property
    def target_type(self) -> str | None:
        """The type of the first target, such as ``User``."""
        return _meaning(self.target[0].type) if self.target else None

    @property
    def app(self) -> str | None:
        """The name of the first target that is an app, or else its id."""
        if not self.target:
            return None
        apps = [target for target in self.target if target.type == _APP]
        return (_meaning(apps[0].displayName) or _meaning(apps[0].id)) if apps else None

    @property
    def risk(self) -> str | None:
        """The risk level in capitals: ``LOW``, ``MEDIUM``, ``HIGH``."""
        return self._assessment.risk

    @property
    def behaviours(self) -> str | None:
        """The behaviours that Okta observed, as a JSON array; None if there are none."""
        observed = self._assessment.behaviours
        return msgspec.json.encode(observed).decode() if observed else None

    @property
    def _assessment(self) -> Assessment:
        context, data = self.securityContext, self.debug_data
        if data.logOnlySecurityData is data.risk is data.behaviors is None and (
            context is None or context.risk is context.userBehaviors is None
        ):
            return NOTHING_SAID
        return assess(context, data)

    @property
    def debug_data(self) -> DebugData:
        """The keys of debugData that detections read; an empty one when there is none."""
        context = self.debugContext
        return (context and context.debugData) or _NO_DEBUG_DATA

    @property
    def dt_hash(self) -> str | None:
        """The hash of the device token; None when unknown."""
        return _meaning(self.debug_data.dtHash)

    @property
    def ip_service_categories(self) -> list[Any]:
        """The services that the address belongs to, as ipDetails lists them."""
        details = self.securityContext.ipDetails if self.securityContext else None
        found = details.ipServiceCategories if details else None
        return found if isinstance(found, list) else []


def _canonical(published: str) -> str:
    try:
        return canonical(published)
    except ValueError:
        raise UnusableEventError("no usable published") from None


def _meaning(text: str | None) -> str | None:
    """Return a text, or None for one that means nothing in Okta's data."""
    return None if text in NOTHING else text
