"""Convert failed token requests to errors with advice.

A service app gets its access token from ``/oauth2/v1/token``, whose errors have OAuth's format, ``{error,
error_description}``. Each error code gets separate advice.

Okta: https://developer.okta.com/docs/guides/implement-oauth-for-okta-serviceapp/main/
"""

import json
from http import HTTPStatus
from typing import Any

from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.errors import (
    BrokenTransferError,
    PermissionMissingError,
    SystemLogError,
    TokenRefusedError,
    quoted,
)
from oktawatch.systemlog.http_dates import parse_date
from oktawatch.systemlog.http_errors import failure, hidden, refusal, request_id, where
from oktawatch.systemlog.transport import TokenAnswer

_DPOP_FORBIDDEN = "the app requires DPoP, which dpop = false forbids: remove that setting of this org"
_DPOP_REQUIRED = "invalid_dpop_proof"  # the error for a request without a proof
_CLOCK = "check this machine's clock, because a proof is valid only for minutes"

_ADVICE: dict[str, tuple[type[SystemLogError], str]] = {
    "invalid_client": (
        TokenRefusedError,
        (
            "check client_id, private_key (its public key must be active in the app), kid (the id of that key) and "
            "this machine's clock"
        ),
    ),
    "invalid_scope": (
        PermissionMissingError,
        "grant the app okta.logs.read in the Admin Console under Okta API Scopes",
    ),
    "unauthorized_client": (
        TokenRefusedError,
        "allow the app to use client credentials: it must be an API Services app",
    ),
    "access_denied": (
        PermissionMissingError,
        "grant the app okta.logs.read, and a read-only role such as Report Administrator under Admin roles",
    ),
}


def token_refusal(org: OrgAccess, answer: TokenAnswer | None, timeout: float) -> SystemLogError:
    """Return the error for a token request without a token in the answer."""
    if answer is None or answer.response is None:
        return failure(org, answer.error if answer else None, timeout)
    response = answer.response
    code, description = _oauth_error(answer.body)
    if response.status == HTTPStatus.OK:
        return BrokenTransferError(
            f"the answer contains no access token ({where(org)}): "
            "check the org's url, and that no portal or proxy answers instead",
            status=response.status,
            date=parse_date(response.headers.get("Date")),
        )
    if not code:
        return refusal(org, response.status, response.headers, answer.body)
    kind, advice = _advice(org, code)
    hide = hidden(org)
    error_code, quote = quoted(code, hide=hide, limit=60), quoted(description, hide=hide)
    return kind(
        f'Okta refuses the service app ({where(org)}, HTTP {response.status}, {error_code}, "{quote}"): {advice}',
        status=response.status,
        error_code=error_code,
        request_id=request_id(response.headers, hide),
        date=parse_date(response.headers.get("Date")),
    )


def requires_dpop(answer: TokenAnswer | None) -> bool:
    """Return whether Okta refused a token request because the app requires DPoP."""
    if answer is None or answer.status != HTTPStatus.BAD_REQUEST:
        return False
    return _oauth_error(answer.body)[0] == _DPOP_REQUIRED


def _advice(org: OrgAccess, code: str) -> tuple[type[SystemLogError], str]:
    if "dpop" in code:
        forbidden = org.app is not None and org.app.dpop is False
        return TokenRefusedError, _DPOP_FORBIDDEN if forbidden else _CLOCK
    return _ADVICE.get(code, (TokenRefusedError, "check the app's settings in the Admin Console"))


def _oauth_error(body: str) -> tuple[str, str]:
    """Return OAuth's ``error`` and ``error_description``, or empty strings."""
    try:
        error: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(error, dict) or not isinstance(error.get("error"), str):
        return "", ""
    description = error.get("error_description")
    return error["error"], description if isinstance(description, str) else ""
