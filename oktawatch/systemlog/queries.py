"""Build the first query of a stream. Later requests follow Okta's ``next`` links.

There are two kinds of streams. All requests sort in ascending order.

- A *polling* query has no ``until``. Its stream contains all events in the order in which Okta persisted them, and never ends.
- A *bounded* query has ``since`` and ``until``. Its stream contains the events in the order of ``published``, and ends. Events
  that Okta persists after the request are missing.

Okta: https://developer.okta.com/docs/reference/system-log-query/
"""

from datetime import datetime
from urllib.parse import parse_qs, quote, urlencode

from oktawatch.model.timestamps import to_text

LOGS_PATH = "/api/v1/logs"
LARGEST_LIMIT = 1000
"""Okta's maximum number of events per page."""
_DEFAULT_LIMIT = 100
_LONGEST_LIMIT = 9  # digits


def polling_query(*, since: datetime, filter: str, limit: int) -> str:  # noqa: A002 -- Okta's name
    """Return the query for the endless stream of events persisted since a time.

    ``filter`` is a SCIM expression. An empty string selects all events.
    """
    return _query(since=to_text(since), filter=filter, limit=limit)


def bounded_query(*, since: datetime, until: datetime, filter: str, limit: int) -> str:  # noqa: A002 -- Okta's name
    """Return the query for the finite stream of events published from ``since`` to ``until``."""
    return _query(since=to_text(since), until=to_text(until), filter=filter, limit=limit)


def _query(**parameters: str | int) -> str:
    if not 1 <= int(parameters["limit"]) <= LARGEST_LIMIT:
        raise ValueError(f"expected a page size from 1 to {LARGEST_LIMIT}")
    params = {name: value for name, value in parameters.items() if value != ""} | {"sortOrder": "ASCENDING"}
    return f"{LOGS_PATH}?{urlencode(params, quote_via=quote, safe='')}"


def named_limit(query: str) -> int | None:
    """Return the limit in a query, at most Okta's maximum, or None if it is absent or invalid."""
    values = parse_qs(query.partition("?")[2]).get("limit")
    if values and values[0].isdecimal() and len(values[0]) <= _LONGEST_LIMIT:
        return min(int(values[0]), LARGEST_LIMIT)
    return None


def limit_of(*queries: str | None) -> int:
    """Return the number of events on a full page: the limit of the first query that has one, or Okta's default."""
    limits = (named_limit(query or "") for query in queries)
    return next((limit for limit in limits if limit is not None), _DEFAULT_LIMIT)
