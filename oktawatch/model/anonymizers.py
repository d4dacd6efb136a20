"""The operators of anonymizing services behind a client's address, wherever an event names them.

Okta names them in ``securityContext.ipDetails.ipServiceCategories``, in debugData's ``tunnels`` and in
``associatedProxies``. Each can be absent, a list, or a text that holds a JSON array.
"""

from typing import Any

import msgspec

from oktawatch.model.sanitize import clean_text, shorten
from oktawatch.model.wire import DebugData, SecurityContext

_MOST_OPERATORS = 20


def anonymizer_operators(context: SecurityContext | None, data: DebugData) -> tuple[str, ...]:
    """Return the operators of anonymizers, each once and in order. A corporate VPN is no anonymizer."""
    details = context.ipDetails if context else None
    categories = details.ipServiceCategories if details else None
    proxies = context.associatedProxies if context else None
    if categories is data.tunnels is proxies is data.associatedProxies is None:
        return ()
    services = [
        *(service.get("operator") for service in _objects(categories) if service.get("isAnonymous") is True),
        *(service.get("operator") for service in _objects(data.tunnels) if service.get("anonymous") is True),
        *_listed(proxies),
        *_listed(data.associatedProxies),
    ]
    names = {shorten(clean_text(name)) for name in services if isinstance(name, str) and name}
    return tuple(sorted(names))[:_MOST_OPERATORS]


def _objects(value: Any) -> list[dict[str, Any]]:
    return [service for service in _listed(value) if isinstance(service, dict)]


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (ValueError, RecursionError):
            return []
    return value if isinstance(value, list) else []
