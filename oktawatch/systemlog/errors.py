"""What can go wrong between oktawatch and an org, as sentences that say what to do about it.

Every failure of reading is a ``SystemLogError``. Its text is one line for people: what happened, where,
and how to mend it. ``reason`` is a short name for metrics and logs. What a server wrote is quoted with
care: shortened, without control characters, and without the token, which a debugging proxy may echo.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar

_LONGEST_QUOTE = 200
# Control characters (C0, C1), line separators, and marks that turn text around on a terminal.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+")
# A JSON web token: an access token, a client assertion or a proof.
_SIGNED = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*").sub


class SystemLogError(Exception):
    """Reading an org's System Log failed."""

    reason: ClassVar[str] = "failed"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        error_code: str | None = None,
        request_id: str | None = None,
        date: datetime | None = None,
    ) -> None:
        """Keep the message for people and, where there was an answer, what Okta's support asks for."""
        super().__init__(message)
        self.status = status
        """HTTP status."""
        self.error_code = error_code
        """Okta's ``errorCode``, such as ``E0000011``."""
        self.request_id = request_id
        """``X-Okta-Request-Id``."""
        self.date = date
        """The server's own clock (its ``Date`` header)."""


class TokenRefusedError(SystemLogError):
    """401: the token is wrong, revoked or expired (Okta: after 30 days without use); or the service app is."""

    reason = "token_refused"


class PermissionMissingError(SystemLogError):
    """403: the token's owner, or the service app, may not read the System Log."""

    reason = "permission_missing"


class WrongHostError(SystemLogError):
    """404: nothing at this address knows the System Log."""

    reason = "wrong_host"


class RequestRefusedError(SystemLogError):
    """400 and its like: a filter or time that Okta doesn't take, or a cursor that it takes no more.

    Only who asked knows which: a query made anew means configuration, a stored cursor means that cursor.
    """

    reason = "request_refused"


class RateLimitedError(SystemLogError):
    """429 again and again, each waited out."""

    reason = "rate_limited"


class UnavailableError(SystemLogError):
    """The org can't be reached, takes too long, or answers 5xx: it passes."""

    reason = "unavailable"


class TimedOutError(UnavailableError):
    """No answer in time: the network, or a query that is too much for the org."""

    reason = "timed_out"


class BrokenTransferError(SystemLogError):
    """An answer that is no page of events: a login page, a redirect, a body cut short."""

    reason = "broken_transfer"


def quoted(text: str, *, hide: Iterable[str], limit: int = _LONGEST_QUOTE) -> str:
    """Make what a server wrote fit for a line of our own; ``hide`` are the secrets that it may echo."""
    for secret in hide:
        text = text.replace(secret, "[token]")
    shown = _UNPRINTABLE.sub(" ", _SIGNED("[token]", text)).strip()
    return shown if len(shown) <= limit else f"{shown[:limit]}…"
