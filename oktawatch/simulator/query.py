"""Queries of the System Log, and the opaque cursor `after` that carries a query from page to page.

A cursor contains the whole query (filter, limit, bounds, sort order) and the position it has reached. The next link
therefore continues the original query. In a request with `after`, the parameter `since` is refused, and all others
have no effect. The cursor also contains a checksum: the org refuses an `after` that it didn't issue.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from . import errors, scim, times
from .record import Place

LOGS = "/api/v1/logs"
DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
DEFAULT_SPAN = 7 * times.DAY
OLDEST_SINCE = 180 * times.DAY


@dataclass(frozen=True)
class Query:
    """A query of the System Log. Times are in milliseconds."""

    since: int
    until: int | None
    """None for a polling request."""

    descending: bool
    filter: str
    limit: int
    place: Place | None = None
    """The place after which the query continues: that of the last event returned. None at the start."""

    @property
    def is_polling(self) -> bool:
        """Whether this is a polling request. Okta: "no `until`, and `sortOrder` ASCENDING"."""
        return self.until is None

    def at(self, place: Place) -> "Query":
        """Return the same query, continued after a place."""
        return replace(self, place=place)

    def link(self, path: str) -> str:
        """Return the next link for this query, as path and query string."""
        params: dict[str, str] = {"after": _seal(self), "limit": str(self.limit)}
        if self.filter:
            params["filter"] = self.filter
        if self.until is not None:
            params["until"] = times.to_text(self.until)
        params["sortOrder"] = "DESCENDING" if self.descending else "ASCENDING"
        return f"{path}?{urlencode(params, quote_via=quote)}"


def read(params: Mapping[str, str], now: int) -> Query:
    """Parse the parameters of a request at `now`, in milliseconds. Raises OktaError."""
    if "after" in params:
        if "since" in params:
            raise errors.invalid("since", "The parameters since and after can't be used together.")
        return _unseal(params["after"])
    if "q" in params:
        raise errors.invalid("q", "This simulated org doesn't support keyword search.")
    descending = _descending(params.get("sortOrder", "ASCENDING"))
    until = _time(params, "until")
    if until is None and descending:
        until = now
    since = _time(params, "since")
    if since is None:
        since = (now if until is None else until) - DEFAULT_SPAN
    elif since < now - OLDEST_SINCE:
        raise errors.too_old("It is more than 180 days ago.")
    text = params.get("filter", "")
    scim.parse(text)
    return Query(since, until, descending, text, _limit(params.get("limit", str(DEFAULT_LIMIT))))


def _descending(text: str) -> bool:
    if text not in {"ASCENDING", "DESCENDING"}:
        raise errors.invalid("sortOrder", "It must be ASCENDING or DESCENDING.")
    return text == "DESCENDING"


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) <= MAX_LIMIT):  # noqa: PLR2004 -- far below the limit of int()
        raise errors.invalid("limit", f"It must be between 0 and {MAX_LIMIT}.")
    return int(text)


def _time(params: Mapping[str, str], name: str) -> int | None:
    if name not in params:
        return None
    try:
        return times.read(params[name])
    except (ValueError, OverflowError):
        raise errors.invalid(name, "It must be an ISO 8601 time.") from None


def _seal(query: Query) -> str:
    place = query.place
    fields = [query.since, query.until, query.descending, query.filter, query.limit, place]
    packed = zlib.compress(json.dumps(fields, separators=(",", ":")).encode())
    return base64.urlsafe_b64encode(_checksum(packed) + packed).rstrip(b"=").decode()


def _unseal(after: str) -> Query:
    try:
        sealed = base64.b64decode(after + "=" * (-len(after) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise errors.invalid_paging() from None
    if _checksum(sealed[8:]) != sealed[:8]:
        raise errors.invalid_paging()
    since, until, descending, text, limit, place = json.loads(zlib.decompress(sealed[8:]))
    return Query(since, until, descending, text, limit, tuple(place) if place else None)


def _checksum(packed: bytes) -> bytes:
    return hashlib.blake2b(packed, digest_size=8, person=b"okta cursor").digest()
