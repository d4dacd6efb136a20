"""Extract the operators of the anonymizing services behind a client's address.

Okta names them in ``securityContext.ipDetails.ipServiceCategories``, in debugData's ``tunnels`` and in
``associatedProxies``. Each of these can be absent, a list, or a string with a JSON array.
"""

from typing import Any

import msgspec

from oktawatch.model.sanitize import clean_text, shorten
from oktawatch.model.wire import DebugData, SecurityContext

_MOST_OPERATORS = 20


def anonymizer_operators(context: SecurityContext | None, data: DebugData) -> tuple[str, ...]:
    """Return the operators of anonymizers, sorted and without duplicates. A corporate VPN is not an anonymizer."""
    details = context.ipDetails if context else None
    categories = details.ipServiceCategories if details else None
    proxies = context.associatedProxies if context else None
    if categories is data.tunnels is proxies is data.associatedProxies is None:
        return ()
    services = [
        *(service.get("operator") for service in _objects(categories) if service.get("isAnonymous") is True),
        *(service.get("operator") for service in _objects(data.tunnels) if service.get("anonymous") is True),
        *_as_list(proxies),
        *_as_list(data.associatedProxies),
    ]
    names = {shorten(clean_text(name)) for name in services if isinstance(name, str) and name}
    return tuple(sorted(names))[:_MOST_OPERATORS]


def _objects(value: Any) -> list[dict[str, Any]]:
    return [service for service in _as_list(value) if isinstance(service, dict)]


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (ValueError, RecursionError):
            return []
    return value if isinstance(value, list) else []
