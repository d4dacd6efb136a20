"""The fields of a LogEvent that detections, history and the alerts' columns read, as they are on the wire.

Fields are spelled as Okta spells them, so that no table of names stands between, and each may hold any
JSON value: where an object is expected, anything else decodes too.

Okta: https://developer.okta.com/docs/api/openapi/okta-management/management/tag/SystemLog/
"""

from typing import Any

from msgspec import Struct

NotAnObject = str | int | float | bool | list[Any] | None
"""What may stand where an object is expected."""


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


class ProxyMark(Struct, gc=False):
    """The one part of securityContext that is read of every event."""

    isProxy: Any = None


class RiskContext(ProxyMark, gc=False):
    """What Okta thinks of risk and behaviour."""

    risk: Any = None
    userBehaviors: Any = None


class SecurityContext(RiskContext, gc=False):
    """The same, and what Okta knows of the client's network."""

    asNumber: Any = None
    asOrg: Any = None
    isp: Any = None
    domain: Any = None
    ipDetails: IpDetails | NotAnObject = None


class AuthenticationContext(Struct, gc=False):
    """Which session it belongs to."""

    externalSessionId: Any = None
    rootSessionId: Any = None


class RiskData(Struct, gc=False):
    """Keys that say something of risk and behaviour."""

    risk: Any = None
    behaviors: Any = None
    logOnlySecurityData: Any = None


class DebugData(RiskData, gc=False):
    """Keys that come and go (Okta: debugData is no contract)."""

    dtHash: Any = None
    tunnels: Any = None


class DebugContext(Struct, gc=False):
    """The wrapper around debugData."""

    debugData: DebugData | NotAnObject = None


class Fields(Struct, gc=False):
    """What is read of an event beyond what decides whether anybody cares."""

    actor: Actor | NotAnObject = None
    client: Client | NotAnObject = None
    outcome: Outcome | NotAnObject = None
    securityContext: SecurityContext | NotAnObject = None
    authenticationContext: AuthenticationContext | NotAnObject = None
    debugContext: DebugContext | NotAnObject = None
    p_enrichment: Any = None
