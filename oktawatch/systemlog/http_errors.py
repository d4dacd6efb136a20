"""From an answer that is no page to the error that says what to do about it.

The status decides first, then Okta's code; a body may be anything.
Okta: https://developer.okta.com/docs/reference/error-codes/
"""

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import aiohttp

from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.errors import (
    BrokenTransferError,
    PermissionMissingError,
    RateLimitedError,
    RequestRefusedError,
    SystemLogError,
    TimedOutError,
    TokenRefusedError,
    UnavailableError,
    WrongHostError,
    quoted,
)
from oktawatch.systemlog.page import parse_date

_LONGEST_NAME = 60  # of what should be a code or an id

_PROXY_REFUSES = "the proxy does not let the request through"
_PROXY_LOGIN = "put a user and password that it knows into poll.proxy or HTTPS_PROXY"

_ADVICE: dict[int, tuple[type[SystemLogError], str, str]] = {
    HTTPStatus.BAD_REQUEST: (
        RequestRefusedError,
        "Okta refuses the request",
        "check the detections' filter and the time asked for",
    ),
    HTTPStatus.UNAUTHORIZED: (
        TokenRefusedError,
        "Okta refuses the token",
        "make a new one in the Admin Console under Security > API > Tokens and put it where the org's token is read from",
    ),
    HTTPStatus.FORBIDDEN: (
        PermissionMissingError,
        "the token may not read the System Log",
        "give its owner an admin role that may, such as Report Administrator or Read-Only Administrator",
    ),
    HTTPStatus.NOT_FOUND: (
        WrongHostError,
        "there is no System Log at this address",
        "check the org's url: it is that of the org itself, without -admin and without a path",
    ),
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: (UnavailableError, _PROXY_REFUSES, _PROXY_LOGIN),
    HTTPStatus.TOO_MANY_REQUESTS: (
        RateLimitedError,
        "Okta's rate limit stays used up",
        "see which other tools share it; reading goes on by itself",
    ),
}
_APP_ADVICE: dict[int, tuple[type[SystemLogError], str, str]] = {
    HTTPStatus.UNAUTHORIZED: (
        TokenRefusedError,
        "Okta refuses the service app's access token",
        "check that the app is active, and that the org's dpop is not false if the app requires DPoP",
    ),
    HTTPStatus.FORBIDDEN: (
        PermissionMissingError,
        "the service app may not read the System Log",
        "grant it okta.logs.read under Okta API Scopes, and under Admin roles a read-only one such as Report Administrator",
    ),
}
_OUTAGE = (
    UnavailableError,
    "Okta has a fault or is being serviced",
    "reading is tried again; see status.okta.com if it lasts",
)
_DIVERTED = (
    BrokenTransferError,
    "the answer is not the System Log's",
    "check the org's url, and that no portal or proxy stands in between",
)
_ODD_REQUEST = (
    RequestRefusedError,
    "Okta refuses the request",
    "check the org's url and the detections' filter",
)


def refusal(
    org: OrgAccess, status: int, headers: Mapping[str, str], body: str, *, access_token: str = ""
) -> SystemLogError:
    """Make the error for an answer whose status is not 200."""
    hide = hidden(org, access_token)
    kind, what, mend = _advice(org, status, headers)
    given, summary = _okta_error(body)
    code = quoted(given, hide=hide, limit=_LONGEST_NAME) or None
    said = quoted(summary or headers.get("Location") or headers.get("WWW-Authenticate", ""), hide=hide)
    facts = [where(org), f"HTTP {status}", *([code] if code else []), *([f'"{said}"'] if said else [])]
    return kind(
        f"{what} ({', '.join(facts)}): {mend}",
        status=status,
        error_code=code,
        request_id=request_id(headers, hide),
        date=parse_date(headers.get("Date")),
    )


def _advice(org: OrgAccess, status: int, headers: Mapping[str, str]) -> tuple[type[SystemLogError], str, str]:
    if org.app is not None:
        # A DPoP proof that proves nothing comes back as 400 (RFC 9449): no query is to blame.
        challenged = status == HTTPStatus.BAD_REQUEST and "WWW-Authenticate" in headers
        advice = _APP_ADVICE.get(HTTPStatus.UNAUTHORIZED if challenged else status)
        if advice is not None:
            return advice
    return _ADVICE.get(status) or _by_class(status)


def _by_class(status: int) -> tuple[type[SystemLogError], str, str]:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return _OUTAGE
    return _ODD_REQUEST if status >= HTTPStatus.BAD_REQUEST else _DIVERTED


def _okta_error(body: str) -> tuple[str, str]:
    """Give Okta's errorCode and what it says, as far as the body holds them."""
    try:
        error: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(error, dict):
        return "", ""
    causes = error.get("errorCauses")
    said = [
        error,
        *(cause for cause in (causes if isinstance(causes, list) else []) if isinstance(cause, dict)),
    ]
    summaries = [text for one in said[:2] if isinstance(text := one.get("errorSummary"), str) and text]
    code = error.get("errorCode")
    return code if isinstance(code, str) else "", ": ".join(summaries)


def unreadable(
    org: OrgAccess, headers: Mapping[str, str], reason: Exception, *, access_token: str = ""
) -> SystemLogError:
    """Make the error for an answer with status 200 that is no page."""
    hide = hidden(org, access_token)
    kind = quoted(headers.get("Content-Type", "no content type"), hide=hide, limit=_LONGEST_NAME)
    said = quoted(str(reason), hide=hide)
    return BrokenTransferError(
        f"the answer is no page of the System Log ({where(org)}, {kind}, {said}): "
        "check the org's url, and that no portal or proxy stands in between",
        status=HTTPStatus.OK,
        request_id=request_id(headers, hide),
        date=parse_date(headers.get("Date")),
    )


def failure(org: OrgAccess, error: Exception | None, timeout: float) -> SystemLogError:
    """Make the error for a request without a whole answer."""
    if isinstance(error, TimeoutError):
        return TimedOutError(
            f"no answer within {timeout:g} s ({where(org)}): "
            "reading is tried again; check the network if it lasts, or set a smaller page_size"
        )
    said = quoted(str(error) or type(error).__name__, hide=hidden(org))
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return UnavailableError(
            f"{_PROXY_REFUSES} ({where(org)}, HTTP {error.status}): {_proxy_advice(error.status)}"
        )
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return UnavailableError(
            f"the proxy can't be reached ({where(org)}, {said}): check poll.proxy or HTTPS_PROXY, and the network"
        )
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return UnavailableError(
            f"the connection is not trusted ({where(org)}, {said}): check the org's url, and set poll.ca_file "
            "to the CA's certificate if a proxy with certificates of its own stands in between"
        )
    if isinstance(error, OSError | aiohttp.ClientConnectionError) and not isinstance(error, ValueError):
        return UnavailableError(
            f"the org can't be reached ({where(org)}, {said}): check the org's url, the network and the name service"
        )
    return BrokenTransferError(
        f"the answer came broken ({where(org)}, {said}): reading is tried again; "
        "see what stands between here and Okta if it lasts"
    )


def _proxy_advice(status: int) -> str:
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return _PROXY_LOGIN
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return "have the proxy let connections to the org through"
    return "reading is tried again; see why the proxy can't reach the org if it lasts"


def where(org: OrgAccess) -> str:
    """Name an org for a message."""
    return f"{org.name}, {org.url}"


def hidden(org: OrgAccess, access_token: str = "") -> tuple[str, ...]:
    """Give what a server may echo of what it was sent."""
    return tuple(secret for secret in (org.token, access_token, *org.proxy_secrets()) if secret)


def request_id(headers: Mapping[str, str], hide: Iterable[str]) -> str | None:
    """Give what Okta's support asks for; None where there is none."""
    return quoted(headers.get("X-Okta-Request-Id", ""), hide=hide, limit=_LONGEST_NAME) or None
