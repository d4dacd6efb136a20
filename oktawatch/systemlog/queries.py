"""What is asked of ``/api/v1/logs``: the path and query of a stream's first request.

Everything after the first request follows Okta's own ``next`` link; nothing here pages.

Okta: without ``until`` and in ascending order a request *polls*: events come in the order in which they
were persisted, none is left out, and the stream never ends. With both bounds it is *bounded*: events
come by ``published``, pages end, and delayed events can be missing.
https://developer.okta.com/docs/reference/system-log-query/
"""

from datetime import datetime
from urllib.parse import parse_qs, quote, urlencode

from oktawatch.model.timestamps import to_text

LOGS_PATH = "/api/v1/logs"
LARGEST_LIMIT = 1000
"""Okta: the most events on a page."""
_DEFAULT_LIMIT = 100
_LONGEST_LIMIT = 9  # digits


def polling_query(*, since: datetime, filter: str, limit: int) -> str:  # noqa: A002  Okta's own name for it
    """Ask for everything persisted since a point in time, as an endless stream of pages.

    ``filter`` is a SCIM expression; empty text asks for every event.
    """
    return _query(since=to_text(since), filter=filter, limit=limit)


def bounded_query(*, since: datetime, until: datetime, filter: str, limit: int) -> str:  # noqa: A002  likewise
    """Ask for everything published from ``since`` to ``until``, as pages that come to an end."""
    return _query(since=to_text(since), until=to_text(until), filter=filter, limit=limit)


def _query(**parameters: str | int) -> str:
    if not 1 <= int(parameters["limit"]) <= LARGEST_LIMIT:
        raise ValueError(f"expected a page size from 1 to {LARGEST_LIMIT}")
    given = {name: value for name, value in parameters.items() if value != ""}
    return f"{LOGS_PATH}?{urlencode({**given, 'sortOrder': 'ASCENDING'}, quote_via=quote, safe='')}"


def named_limit(query: str) -> int | None:
    """Tell which limit a query names; None when it names none that can be used."""
    named = parse_qs(query.partition("?")[2]).get("limit")
    if named and named[0].isdecimal() and len(named[0]) <= _LONGEST_LIMIT:
        return min(int(named[0]), LARGEST_LIMIT)
    return None


def limit_of(*queries: str | None) -> int:
    """Tell how many events a full page holds: the first limit that one of these queries names."""
    limits = (named_limit(query or "") for query in queries)
    return next((limit for limit in limits if limit is not None), _DEFAULT_LIMIT)
