"""A LogEvent: its fields, and safe accessors to them.

Event data is untrusted, and Okta adds and changes properties without notice. Rules therefore read *accessors*
(``client_ip``, ``actor_id``, ``is_proxy``, …) instead of fields. An accessor returns a value of the documented
type or None, and never raises. Texts have a bounded length and are valid in both databases.

The page's decoder reads only the fields of ``wire``, which rules, history and alerts use, and checks their
types and lengths. ``body()`` parses the whole event from its slice of the page, for the context of a match and
for custom rules.

Okta: https://developer.okta.com/docs/api/openapi/okta-management/management/tag/SystemLog/
"""

from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Self

import msgspec
from msgspec import Meta, Struct

from oktawatch.model.anonymizers import (
    anonymizer_operators,
    anonymous_services,
    anonymous_tunnels,
    associated_proxies,
)
from oktawatch.model.lenient_json import parse_json
from oktawatch.model.privacy import PLACEHOLDERS, redact_body
from oktawatch.model.risk import NO_ASSESSMENT, Assessment, assess
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
_UNKNOWN = PLACEHOLDERS | {None}
_NO_NETWORK = _UNKNOWN | {"."}  # Okta writes "." for a network without a domain


class UnusableEventError(ValueError):
    """An event without a usable uuid or published. It can't be stored."""


class Event(Struct, gc=False):
    """A LogEvent. Create it with ``from_json`` or ``from_body``, or decode it and call ``accept``."""

    uuid: Annotated[str, Meta(min_length=1, max_length=LONGEST_UUID)]
    published: str
    """Canonical text, except while an event is decoded."""
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
    """The fields that a log pipeline added to Okta's fields."""
    raw: Any = None
    """The event's JSON. If Okta's event has a key ``raw``, the decoder stores its value here, and ``accept`` overwrites it."""

    def __repr__(self) -> str:
        """Return the event's identity. Other fields can contain a mistyped password, which must not reach logs or tracebacks."""
        return f"Event(uuid={self.uuid!r}, published={self.published!r})"

    @classmethod
    def from_body(cls, body: dict[str, Any]) -> Self:
        """Build an event from a JSON object of any shape, cleaned and redacted.

        Raises UnusableEventError if it has no usable uuid or published.
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
        """Build an event from untrusted bytes. Raises UnusableEventError, or ValueError if the bytes are not JSON."""
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
        """Keep the event's JSON, and redact the fields if the actor is unknown. ``published`` must already be canonical."""
        self.raw = raw
        if self.actor is not None and self.actor.id in _UNKNOWN:
            redacted = type(self).from_body(self.body())
            for name in self.__struct_fields__:
                setattr(self, name, getattr(redacted, name))
            self.raw = raw

    def body(self) -> dict[str, Any]:
        """Parse the whole event into a new dict, cleaned and redacted."""
        raw = bytes(self.raw)
        try:
            body = msgspec.json.decode(raw)
            clean = is_clean(raw)
        except (ValueError, RecursionError):
            # A field that the decoder skipped contains invalid UTF-8, 1e400 or too many nesting levels.
            body, clean = parse_json(raw), False
        redacted: dict[str, Any] = redact_body(body if clean else clean_json(body))
        return redacted

    @property
    def published_at(self) -> datetime:
        """The event time."""
        return from_text(self.published)

    @property
    def event_type(self) -> str:
        """Okta's event type, or an empty string."""
        return self.eventType or ""

    @property
    def is_proxy(self) -> bool | None:
        """Whether Okta classifies the client's address as an anonymizing proxy. None if unknown."""
        return self.securityContext.isProxy if self.securityContext else None

    @property
    def actor_id(self) -> str | None:
        """Okta's id of the actor. None if unknown."""
        return _known(self.actor.id) if self.actor else None

    @property
    def actor_alternate_id(self) -> str | None:
        """The user name as typed, or ``redacted`` if it may be a password."""
        return _known(self.actor.alternateId) if self.actor else None

    @property
    def actor_display_name(self) -> str | None:
        """The actor's name."""
        return (self.actor.displayName or None) if self.actor else None

    @property
    def client_ip(self) -> str | None:
        """The client's IP address as Okta reports it, not validated."""
        return _known(self.client.ipAddress) if self.client else None

    @property
    def user_agent(self) -> str | None:
        """The raw User-Agent header."""
        agent = self.client.userAgent if self.client else None
        return (agent.rawUserAgent or None) if agent else None

    @property
    def client_device(self) -> str | None:
        """The kind of device, such as ``Computer`` or ``Mobile``."""
        return _known(self.client.device) if self.client else None

    @property
    def client_zone(self) -> str | None:
        """The name of the network zone of the client's address."""
        return _known(self.client.zone) if self.client else None

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
        """The internet service provider, from securityContext or else its ipDetails."""
        return self._network("isp")

    @property
    def domain(self) -> str | None:
        """The network's domain, from securityContext or else its ipDetails."""
        return self._network("domain")

    def _network(self, field: str) -> str | None:
        context = self.securityContext
        if context is None:
            return None
        texts = (getattr(source, field) for source in (context, context.ipDetails) if source is not None)
        return next((text for text in texts if text not in _NO_NETWORK), None)

    @property
    def operators(self) -> str | None:
        """The operators of the anonymizers behind the client's address, as a JSON array. None if there are none."""
        operators = anonymizer_operators(self.securityContext, self.debug_data)
        return msgspec.json.encode(operators).decode() if operators else None

    @property
    def anonymous_tunnel(self) -> bool | None:
        """True if debugData's ``tunnels`` contain an anonymous tunnel, else None."""
        return True if self.debug_data.tunnels is not None and anonymous_tunnels(self.debug_data) else None

    @property
    def anonymous_service(self) -> bool | None:
        """True if the client's address has an anonymous service category, else None."""
        context = self.securityContext
        named = context is not None and context.ipDetails is not None
        return True if named and anonymous_services(context) else None

    @property
    def associated_proxy(self) -> bool | None:
        """True if Okta associates proxies with the client's address, else None."""
        context, data = self.securityContext, self.debug_data
        if data.associatedProxies is None and (context is None or context.associatedProxies is None):
            return None  # the usual case
        return True if associated_proxies(context, data) else None

    @property
    def outcome_result(self) -> str | None:
        """The outcome: ``SUCCESS``, ``FAILURE``, ``ALLOW`` and others."""
        return (self.outcome.result or None) if self.outcome else None

    @property
    def outcome_reason(self) -> str | None:
        """The reason of the outcome, for example ``INVALID_CREDENTIALS``."""
        return (self.outcome.reason or None) if self.outcome else None

    @property
    def external_session_id(self) -> str | None:
        """The session's id. None if unknown."""
        context = self.authenticationContext
        return _known(context.externalSessionId) if context else None

    @property
    def root_session_id(self) -> str | None:
        """The session from which this session was derived, or else the session itself. None if unknown."""
        context = self.authenticationContext
        return (_known(context.rootSessionId) or _known(context.externalSessionId)) if context else None

    @property
    def factor(self) -> str | None:
        """The factor or credential: debugData's ``factor``, else the credential's type, else its provider."""
        factor = _known(self.debug_data.factor)
        context = self.authenticationContext
        if factor or context is None:
            return factor
        return _known(context.credentialType) or _known(context.credentialProvider)

    @property
    def device_id(self) -> str | None:
        """The id of the registered device."""
        return _known(self.device.id) if self.device else None

    @property
    def api_token_id(self) -> str | None:
        """The id of the API token of the request, from debugData or else the transaction."""
        detail = self.transaction.detail if self.transaction else None
        return _known(self.debug_data.requestApiTokenId) or (
            _known(detail.requestApiTokenId) if detail else None
        )

    @property
    def target_id(self) -> str | None:
        """The id of the first target."""
        return _known(self.target[0].id) if self.target else None

    @property
    def target_type(self) -> str | None:
        """The type of the first target, such as ``User``."""
        return _known(self.target[0].type) if self.target else None

    @property
    def app(self) -> str | None:
        """The name of the first target that is an app, or else its id."""
        if not self.target:
            return None
        apps = [target for target in self.target if target.type == _APP]
        return (_known(apps[0].displayName) or _known(apps[0].id)) if apps else None

    @property
    def risk(self) -> str | None:
        """The risk level in capitals: ``LOW``, ``MEDIUM``, ``HIGH``."""
        return self._assessment.risk

    @property
    def behaviours(self) -> str | None:
        """The behaviours that Okta observed, as a JSON array. None if there are none."""
        observed = self._assessment.behaviours
        return msgspec.json.encode(observed).decode() if observed else None

    @property
    def _assessment(self) -> Assessment:
        context, data = self.securityContext, self.debug_data
        if data.logOnlySecurityData is data.risk is data.behaviors is None and (
            context is None or context.risk is context.userBehaviors is None
        ):
            return NO_ASSESSMENT
        return assess(context, data)

    @property
    def debug_data(self) -> DebugData:
        """The keys of debugData that rules read. Empty if the event has no debugData."""
        context = self.debugContext
        return (context and context.debugData) or _NO_DEBUG_DATA

    @property
    def dt_hash(self) -> str | None:
        """The hash of the device token. None if unknown."""
        return _known(self.debug_data.dtHash)


def _canonical(published: str) -> str:
    try:
        return canonical(published)
    except ValueError:
        raise UnusableEventError("no usable published") from None


def _known(text: str | None) -> str | None:
    """Return a text, or None for Okta's placeholders."""
    return None if text in PLACEHOLDERS else text
