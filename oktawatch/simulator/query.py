"""What a request asks for, and the opaque `after` that carries it from page to page.

A cursor holds the whole question (filter, limit, bounds, direction) beside the place it has reached, so that a
page's next link goes on exactly as the first request began: other parameters that come along with `after` have
no effect. It holds a checksum too, and an `after` of anyone else's making is refused.
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
    """One question to the System Log; times are in milliseconds."""

    since: int
    until: int | None
    """None makes it a polling request."""

    descending: bool
    filter: str
    limit: int
    place: Place | None = None
    """What was returned last; None at the start."""

    @property
    def is_polling(self) -> bool:
        """Okta: "no `until`, and `sortOrder` ASCENDING"."""
        return self.until is None

    def at(self, place: Place) -> "Query":
        """Return the same question, asked from a place on."""
        return replace(self, place=place)

    def link(self, path: str) -> str:
        """Return path and query of the request that goes on from here."""
        shown: dict[str, str] = {"after": _seal(self), "limit": str(self.limit)}
        if self.filter:
            shown["filter"] = self.filter
        if self.until is not None:
            shown["until"] = times.to_text(self.until)
        shown["sortOrder"] = "DESCENDING" if self.descending else "ASCENDING"
        return f"{path}?{urlencode(shown, quote_via=quote)}"


def read(params: Mapping[str, str], now: int) -> Query:
    """Return what the parameters of a request ask for at `now`. Raises OktaError."""
    if "after" in params:
        if "since" in params:
            raise errors.invalid("since", "The parameters since and after can't be used together.")
        return _unseal(params["after"])
    if "q" in params:
        raise errors.invalid("q", "This simulated org knows no keyword search.")
    descending = _descending(params.get("sortOrder", "ASCENDING"))
    until = _time(params, "until")
    if until is None and descending:
        until = now
    since = _time(params, "since")
    if since is None:
        since = (now if until is None else until) - DEFAULT_SPAN
    elif since < now - OLDEST_SINCE:
        raise errors.too_old("It lies more than 180 days back.")
    text = params.get("filter", "")
    scim.parse(text)
    return Query(since, until, descending, text, _limit(params.get("limit", str(DEFAULT_LIMIT))))


def _descending(text: str) -> bool:
    if text not in {"ASCENDING", "DESCENDING"}:
        raise errors.invalid("sortOrder", "It is ASCENDING or DESCENDING.")
    return text == "DESCENDING"


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) <= MAX_LIMIT):  # noqa: PLR2004 - long before int() refuses
        raise errors.invalid("limit", f"It lies between 0 and {MAX_LIMIT}.")
    return int(text)


def _time(params: Mapping[str, str], name: str) -> int | None:
    if name not in params:
        return None
    try:
        return times.read(params[name])
    except (ValueError, OverflowError):
        raise errors.invalid(name, "It is no ISO 8601 time.") from None


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
