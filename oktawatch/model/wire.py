"""The fields of a LogEvent that detections, history and alerts read, as they are on the wire.

Fields are spelled as Okta spells them, so that no table of names stands between. Types and lengths are
those of ordinary events, and the decoder checks them. An event with anything else goes through `fitting`,
which drops what does not fit and shortens what is too long, so that what remains decodes.

Okta: https://developer.okta.com/docs/api/openapi/okta-management/management/tag/SystemLog/
"""

from functools import cache
from typing import Annotated, Any, get_args

import msgspec
from msgspec import Meta, Struct

from oktawatch.model.sanitize import LONGEST_TEXT, shorten

Text = Annotated[str, Meta(max_length=LONGEST_TEXT)] | None
Number = Annotated[int, Meta(ge=0, le=2**63 - 1)] | None


class Actor(Struct, gc=False):
    """Who did it."""

    id: Text = None
    alternateId: Text = None
    displayName: Text = None


class UserAgent(Struct, gc=False):
    """The client's program."""

    rawUserAgent: Text = None


class GeographicalContext(Struct, gc=False):
    """The location of an address."""

    city: Text = None
    country: Text = None


class Client(Struct, gc=False):
    """The client that sent the request."""

    ipAddress: Text = None
    device: Text = None
    zone: Text = None
    userAgent: UserAgent | None = None
    geographicalContext: GeographicalContext | None = None


class Device(Struct, gc=False):
    """A device that is registered with Okta."""

    id: Text = None


class Outcome(Struct, gc=False):
    """How it ended."""

    result: Text = None
    reason: Text = None


class IpDetails(Struct, gc=False):
    """What Okta knows about the client's network."""

    asNumber: Number = None
    asOrg: Text = None
    isp: Text = None
    domain: Text = None
    ipServiceCategories: Any = None


class RiskContext(Struct, gc=False):
    """What Okta thinks of risk and behaviour."""

    risk: Any = None
    userBehaviors: Any = None


class SecurityContext(RiskContext, gc=False):
    """What Okta thinks of risk and behaviour, and knows about the client's network."""

    isProxy: bool | None = None
    asNumber: Number = None
    asOrg: Text = None
    isp: Text = None
    domain: Text = None
    ipDetails: IpDetails | None = None
    associatedProxies: Any = None


class AuthenticationContext(Struct, gc=False):
    """The session and the credential."""

    externalSessionId: Text = None
    rootSessionId: Text = None
    credentialType: Text = None
    credentialProvider: Text = None


class RiskData(Struct, gc=False):
    """The keys of debugData about risk and behaviour."""

    risk: Any = None
    behaviors: Any = None
    logOnlySecurityData: Any = None


class DebugData(RiskData, gc=False):
    """Keys that come and go (Okta: debugData is no contract)."""

    dtHash: Text = None
    factor: Text = None
    requestApiTokenId: Text = None
    tunnels: Any = None
    associatedProxies: Any = None


class DebugContext(Struct, gc=False):
    """The wrapper around debugData."""

    debugData: DebugData | None = None


class TransactionDetail(Struct, gc=False):
    """The details of a request."""

    requestApiTokenId: Text = None


class Transaction(Struct, gc=False):
    """The request."""

    detail: TransactionDetail | None = None


class Target(Struct, gc=False):
    """What it was done to."""

    id: Text = None
    type: Text = None
    displayName: Text = None


def fitting(value: dict[str, Any], kind: type[Struct]) -> dict[str, Any]:
    """Return what a struct can hold of a JSON object. Texts that are too long are shortened, the rest is dropped."""
    fits = {}
    for name, field_type, inner in _fields(kind):
        item = value.get(name)
        if inner is not None and isinstance(item, list):
            item = [fitting(one, inner) for one in item if isinstance(one, dict)]
        elif inner is not None:
            item = fitting(item, inner) if isinstance(item, dict) else None
        elif field_type == Text and isinstance(item, str):
            item = shorten(item)
        try:
            msgspec.convert(item, field_type)
        except msgspec.ValidationError:
            continue
        fits[name] = item
    return fits


@cache
def _fields(kind: type[Struct]) -> list[tuple[str, Any, type[Struct] | None]]:
    """Return the name and type of a struct's fields, and the struct that a field holds or lists."""
    return [(one.name, one.type, _struct_in(one.type)) for one in msgspec.structs.fields(kind)]


def _struct_in(field_type: Any) -> type[Struct] | None:
    if isinstance(field_type, type) and issubclass(field_type, Struct):
        return field_type
    return next((inner for part in get_args(field_type) if (inner := _struct_in(part))), None)
