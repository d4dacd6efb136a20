"""Convert answers that are not a page, and failed requests, to errors with advice.

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
    UntrustedError,
    WrongHostError,
    quoted,
)
from oktawatch.systemlog.http_dates import parse_date

_LONGEST_NAME = 60  # characters of a code or an id

_PROXY_REFUSES = "the proxy refuses the request"
_PROXY_LOGIN = "set a valid user and password in poll.proxy or HTTPS_PROXY"

_ADVICE: dict[int, tuple[type[SystemLogError], str, str]] = {
    HTTPStatus.BAD_REQUEST: (
        RequestRefusedError,
        "Okta refuses the request",
        "check the rules' filter and the requested time",
    ),
    HTTPStatus.UNAUTHORIZED: (
        TokenRefusedError,
        "Okta refuses the token",
        "create a new token in the Admin Console under Security > API > Tokens and store it where the org's token is read from",
    ),
    HTTPStatus.FORBIDDEN: (
        PermissionMissingError,
        "the token isn't allowed to read the System Log",
        "grant its owner an admin role such as Report Administrator or Read-Only Administrator",
    ),
    HTTPStatus.NOT_FOUND: (
        WrongHostError,
        "there is no System Log at this URL",
        "check the org's url: it must have no -admin in the host, and no path",
    ),
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: (UnavailableError, _PROXY_REFUSES, _PROXY_LOGIN),
    HTTPStatus.TOO_MANY_REQUESTS: (
        RateLimitedError,
        "Okta's rate limit stays exhausted",
        "find out which other clients share it; reading continues automatically",
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
        "the service app isn't allowed to read the System Log",
        "grant it okta.logs.read under Okta API Scopes, and a read-only role such as Report Administrator under Admin roles",
    ),
}
_OUTAGE = (
    UnavailableError,
    "Okta has a fault or is under maintenance",
    "reading is retried; see status.okta.com if it persists",
)
_DIVERTED = (
    BrokenTransferError,
    "the answer is not from the System Log",
    "check the org's url, and that no portal or proxy answers instead",
)
_BAD_REQUEST = (
    RequestRefusedError,
    "Okta refuses the request",
    "check the org's url and the rules' filter",
)


def refusal(
    org: OrgAccess, status: int, headers: Mapping[str, str], body: str, *, access_token: str = ""
) -> SystemLogError:
    """Return the error for an answer with a status other than 200."""
    hide = hidden(org, access_token)
    kind, problem, advice = _advice(org, status, headers)
    okta_code, summary = _okta_error(body)
    code = quoted(okta_code, hide=hide, limit=_LONGEST_NAME) or None
    quote = quoted(summary or headers.get("Location") or headers.get("WWW-Authenticate", ""), hide=hide)
    details = [where(org), f"HTTP {status}", *([code] if code else []), *([f'"{quote}"'] if quote else [])]
    return kind(
        f"{problem} ({', '.join(details)}): {advice}",
        status=status,
        error_code=code,
        request_id=request_id(headers, hide),
        date=parse_date(headers.get("Date")),
    )


def _advice(org: OrgAccess, status: int, headers: Mapping[str, str]) -> tuple[type[SystemLogError], str, str]:
    if org.app is not None:
        # An invalid DPoP proof causes a 400 (RFC 9449), which is not the fault of the query.
        challenged = status == HTTPStatus.BAD_REQUEST and "WWW-Authenticate" in headers
        advice = _APP_ADVICE.get(HTTPStatus.UNAUTHORIZED if challenged else status)
        if advice is not None:
            return advice
    return _ADVICE.get(status) or _by_class(status)


def _by_class(status: int) -> tuple[type[SystemLogError], str, str]:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return _OUTAGE
    return _BAD_REQUEST if status >= HTTPStatus.BAD_REQUEST else _DIVERTED


def _okta_error(body: str) -> tuple[str, str]:
    """Return Okta's errorCode and the summaries of the error and its first cause, or empty strings."""
    try:
        error: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(error, dict):
        return "", ""
    causes = error.get("errorCauses")
    parts = [
        error,
        *(cause for cause in (causes if isinstance(causes, list) else []) if isinstance(cause, dict)),
    ]
    summaries = [text for part in parts[:2] if isinstance(text := part.get("errorSummary"), str) and text]
    code = error.get("errorCode")
    return code if isinstance(code, str) else "", ": ".join(summaries)


def unreadable(
    org: OrgAccess, headers: Mapping[str, str], reason: Exception, *, access_token: str = ""
) -> SystemLogError:
    """Return the error for an answer with status 200 that is not a page."""
    hide = hidden(org, access_token)
    content_type = quoted(headers.get("Content-Type", "no content type"), hide=hide, limit=_LONGEST_NAME)
    detail = quoted(str(reason), hide=hide)
    return BrokenTransferError(
        f"the answer is not a page of the System Log ({where(org)}, {content_type}, {detail}): "
        "check the org's url, and that no portal or proxy answers instead",
        status=HTTPStatus.OK,
        request_id=request_id(headers, hide),
        date=parse_date(headers.get("Date")),
    )


def failure(org: OrgAccess, error: Exception | None, timeout: float) -> SystemLogError:
    """Return the error for a request without a complete answer."""
    if isinstance(error, TimeoutError):
        return TimedOutError(
            f"no answer within {timeout:g} s ({where(org)}): "
            "reading is retried; check the network if it persists, or set a smaller page_size"
        )
    detail = quoted(str(error) or type(error).__name__, hide=hidden(org))
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return UnavailableError(
            f"{_PROXY_REFUSES} ({where(org)}, HTTP {error.status}): {_proxy_advice(error.status)}"
        )
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return UnavailableError(
            f"the proxy can't be reached ({where(org)}, {detail}): check poll.proxy or HTTPS_PROXY, and the network"
        )
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return UntrustedError(
            f"the connection is not trusted ({where(org)}, {detail}): check the org's url, and set poll.ca_file "
            "to the CA's certificate if a proxy intercepts TLS"
        )
    if isinstance(error, OSError | aiohttp.ClientConnectionError) and not isinstance(error, ValueError):
        return UnavailableError(
            f"the org can't be reached ({where(org)}, {detail}): check the org's url, the network and DNS"
        )
    return BrokenTransferError(
        f"the answer is incomplete or malformed ({where(org)}, {detail}): reading is retried; "
        "check the proxies between here and Okta if it persists"
    )


def _proxy_advice(status: int) -> str:
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return _PROXY_LOGIN
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return "allow connections to the org in the proxy"
    return "reading is retried; find out why the proxy can't reach the org if it persists"


def where(org: OrgAccess) -> str:
    """Return the name and URL of an org for a message."""
    return f"{org.name}, {org.url}"


def hidden(org: OrgAccess, access_token: str = "") -> tuple[str, ...]:
    """Return the secrets in a request, which a server can echo."""
    return tuple(secret for secret in (org.token, access_token, *org.proxy_secrets()) if secret)


def request_id(headers: Mapping[str, str], hide: Iterable[str]) -> str | None:
    """Return the request id for Okta's support, or None."""
    return quoted(headers.get("X-Okta-Request-Id", ""), hide=hide, limit=_LONGEST_NAME) or None
