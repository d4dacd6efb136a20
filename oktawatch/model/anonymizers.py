"""Extract the anonymizing services that Okta sees behind a client's address.

Okta names them in ``ipServiceCategories`` of ``securityContext.ipDetails``, in ``tunnels`` of debugData, and in
``associatedProxies`` of both securityContext and debugData. Each of these can be absent, a list, or a string with a JSON
array.
"""

from types import MappingProxyType
from typing import Any

import msgspec

from oktawatch.model.sanitize import clean_text, shorten
from oktawatch.model.wire import DebugData, SecurityContext

SIGNAL_COLUMNS = MappingProxyType(
    {
        "is_proxy": "is_proxy",
        "tunnels": "anonymous_tunnel",
        "ip_details": "anonymous_service",
        "associated_proxies": "associated_proxy",
    }
)
"""Maps each anonymizer mark, as written in the option ``signals``, to its name in ``Event`` and in ``history``."""

_MOST_OPERATORS = 20  # per event


def anonymizer_operators(context: SecurityContext | None, data: DebugData) -> tuple[str, ...]:
    """Return the operators of anonymizers, sorted and without duplicates."""
    if names_no_service(context, data):
        return ()
    services = [*anonymous_services(context), *anonymous_tunnels(data)]
    operators = [*(service.get("operator") for service in services), *associated_proxies(context, data)]
    names = {shorten(clean_text(name)) for name in operators if isinstance(name, str) and name}
    return tuple(sorted(names))[:_MOST_OPERATORS]


def names_no_service(context: SecurityContext | None, data: DebugData) -> bool:
    """Return whether an event has none of the fields that name services. Most events have none."""
    if context is None:
        return data.tunnels is data.associatedProxies is None
    return data.tunnels is data.associatedProxies is context.associatedProxies is None and (
        context.ipDetails is None or context.ipDetails.ipServiceCategories is None
    )


def anonymous_services(context: SecurityContext | None) -> list[dict[str, Any]]:
    """Return the service categories of the address that are anonymous."""
    return [service for service in service_categories(context) if service.get("isAnonymous") is True]


def anonymous_tunnels(data: DebugData) -> list[dict[str, Any]]:
    """Return the tunnels that are anonymous. A corporate VPN is not anonymous."""
    return [tunnel for tunnel in tunnels(data) if tunnel.get("anonymous") is True]


def associated_proxies(context: SecurityContext | None, data: DebugData) -> list[str]:
    """Return the operators of proxies that Okta associates with the address."""
    listed = [*_as_list(context.associatedProxies if context else None), *_as_list(data.associatedProxies)]
    return [operator for operator in listed if isinstance(operator, str) and operator]


def service_categories(context: SecurityContext | None) -> list[dict[str, Any]]:
    """Return the categories of the services that own the address, anonymous or not."""
    details = context.ipDetails if context else None
    return _objects(details.ipServiceCategories if details else None)


def tunnels(data: DebugData) -> list[dict[str, Any]]:
    """Return debugData's tunnels, anonymous or not."""
    return _objects(data.tunnels)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [element for element in _as_list(value) if isinstance(element, dict)]


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (ValueError, RecursionError):
            return []
    return value if isinstance(value, list) else []
