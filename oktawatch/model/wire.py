"""The fields of a LogEvent that rules, history and alerts read, under Okta's names.

The decoder checks types and lengths. An event that violates them goes through `fitting`, which drops values of
another type and shortens long texts, so that the rest decodes.

Okta: https://developer.okta.com/docs/api/openapi/okta-management/management/tag/SystemLog/
"""

from functools import cache
from typing import Annotated, Any, NamedTuple, get_args

import msgspec
from msgspec import Meta, Struct

from oktawatch.model.sanitize import LONGEST_TEXT, shorten

Text = Annotated[str, Meta(max_length=LONGEST_TEXT)] | None
Number = Annotated[int, Meta(ge=0, le=2**63 - 1)] | None


class Actor(Struct, gc=False):
    """The user or service that performed the action."""

    id: Text = None
    alternateId: Text = None
    displayName: Text = None


class UserAgent(Struct, gc=False):
    """The browser or program of the client."""

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
    """The outcome of the action."""

    result: Text = None
    reason: Text = None


class IpDetails(Struct, gc=False):
    """Okta's data about the client's network."""

    asNumber: Number = None
    asOrg: Text = None
    isp: Text = None
    domain: Text = None
    ipServiceCategories: Any = None


class RiskContext(Struct, gc=False):
    """Okta's assessment of risk and behaviour."""

    risk: Any = None
    userBehaviors: Any = None


class SecurityContext(RiskContext, gc=False):
    """Okta's assessment of risk and behaviour, and its data about the client's network."""

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
    """Keys of debugData. Okta can change them without notice."""

    dtHash: Text = None
    factor: Text = None
    requestApiTokenId: Text = None
    tunnels: Any = None
    associatedProxies: Any = None
    proxyType: Text = None
    threatSuspected: Any = None


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
    """An object of the action."""

    id: Text = None
    type: Text = None
    displayName: Text = None


def fitting(value: dict[str, Any], kind: type[Struct]) -> dict[str, Any]:
    """Return a copy of a JSON object that a struct can decode. Shortens long texts, and drops unknown and invalid fields."""
    fits = {}
    for field in _fields(kind):
        item = value.get(field.name)
        if item is None:
            continue  # null is the default
        if field.inner is not None and isinstance(item, list):
            item = [fitting(element, field.inner) for element in item if isinstance(element, dict)]
        elif field.inner is not None:
            item = fitting(item, field.inner) if isinstance(item, dict) else None
        elif field.is_text and isinstance(item, str):
            item = shorten(item)
        try:
            msgspec.convert(item, field.declared)
        except msgspec.ValidationError:
            continue
        fits[field.name] = item
    return fits


class _Field(NamedTuple):
    """A field of a struct."""

    name: str
    declared: Any
    is_text: bool
    inner: type[Struct] | None
    """The struct that the field contains, if any."""


@cache
def _fields(kind: type[Struct]) -> list[_Field]:
    return [
        _Field(field.name, field.type, field.type == Text, _struct_in(field.type))
        for field in msgspec.structs.fields(kind)
    ]


def _struct_in(field_type: Any) -> type[Struct] | None:
    if isinstance(field_type, type) and issubclass(field_type, Struct):
        return field_type
    return next((inner for part in get_args(field_type) if (inner := _struct_in(part))), None)
