"""Errors when reading the System Log, with advice in their messages.

Every failure is a ``SystemLogError``. Its message is one line: what happened, where, and how to fix it. ``reason`` is a
short name for metrics and logs. Text from a server is quoted without control characters, shortened, and without the
token, which a debugging proxy can echo.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar

_LONGEST_QUOTE = 200
# Control characters (C0, C1), zero-width characters, line separators, bidirectional marks and surrogates.
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
        """Create an error with its message and the details of the answer, if there was one."""
        super().__init__(message)
        self.status = status
        """HTTP status."""
        self.error_code = error_code
        """Okta's ``errorCode``, such as ``E0000011``."""
        self.request_id = request_id
        """``X-Okta-Request-Id``."""
        self.date = date
        """The time by the server's clock: its ``Date`` header."""


class TokenRefusedError(SystemLogError):
    """401: the token or the service app is invalid, revoked or expired. Tokens expire after 30 days without use."""

    reason = "token_refused"


class PermissionMissingError(SystemLogError):
    """403: the token's owner or the service app lacks the permission to read the System Log."""

    reason = "permission_missing"


class WrongHostError(SystemLogError):
    """404: the URL is not that of an org."""

    reason = "wrong_host"


class RequestRefusedError(SystemLogError):
    """400 and other 4xx: Okta refuses the filter, the time or the cursor.

    The cause is the configuration if the query is new, and the cursor if the query was stored. Only the caller knows which
    it is.
    """

    reason = "request_refused"


class RateLimitedError(SystemLogError):
    """429 repeatedly, despite the pauses."""

    reason = "rate_limited"


class UnavailableError(SystemLogError):
    """The org can't be reached, takes too long or answers 5xx. A temporary failure."""

    reason = "unavailable"


class TimedOutError(UnavailableError):
    """No answer in time, because of the network or an expensive query."""

    reason = "timed_out"


class UntrustedError(UnavailableError):
    """The org's certificate is invalid, expired or signed by an unknown CA."""

    reason = "certificate"


class BrokenTransferError(SystemLogError):
    """An answer that is not a page of events: a login page, a redirect, a truncated body."""

    reason = "broken_transfer"


def quoted(text: str, *, hide: Iterable[str], limit: int = _LONGEST_QUOTE) -> str:
    """Sanitize and shorten text from a server for a message. ``hide`` lists the secrets that the server can echo."""
    for secret in hide:
        text = text.replace(secret, "[token]")
    shown = _UNPRINTABLE.sub(" ", _SIGNED("[token]", text)).strip()
    return shown if len(shown) <= limit else f"{shown[:limit]}…"
