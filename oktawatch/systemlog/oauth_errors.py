"""From a token request that failed to the error that says what to do about it.

A service app's access token is asked for at ``/oauth2/v1/token``, whose errors have OAuth's shape:
``{error, error_description}``. They name what is wrong with the app's set-up, so each gets its own advice.

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
from oktawatch.systemlog.http_errors import failure, hidden, refusal, request_id, where
from oktawatch.systemlog.page import parse_date
from oktawatch.systemlog.transport import TokenAnswer

_DPOP_FORBIDDEN = "the app requires DPoP, which dpop = false forbids: remove that setting of this org"
_DPOP_REQUIRED = "invalid_dpop_proof"  # what a request without any proof gets
_CLOCK = "check this machine's clock, since a proof is good for minutes"

_ADVICE: dict[str, tuple[type[SystemLogError], str]] = {
    "invalid_client": (
        TokenRefusedError,
        (
            "check client_id, that the app's public key belongs to private_key and is active, that kid is its id, "
            "and this machine's clock"
        ),
    ),
    "invalid_scope": (
        PermissionMissingError,
        "grant the app okta.logs.read in the Admin Console under Okta API Scopes",
    ),
    "unauthorized_client": (
        TokenRefusedError,
        "let the app use client credentials: it must be an API Services app",
    ),
    "access_denied": (
        PermissionMissingError,
        "grant the app okta.logs.read, and under Admin roles a read-only one such as Report Administrator",
    ),
}


def token_refusal(org: OrgAccess, answer: TokenAnswer | None, timeout: float) -> SystemLogError:
    """Make the error for a token request that gave no token."""
    if answer is None or answer.response is None:
        return failure(org, answer.error if answer else None, timeout)
    response = answer.response
    code, said = _oauth_error(answer.body)
    if response.status == HTTPStatus.OK:
        return BrokenTransferError(
            f"the answer holds no access token ({where(org)}): "
            "check the org's url, and that no portal or proxy stands in between",
            status=response.status,
            date=parse_date(response.headers.get("Date")),
        )
    if not code:
        return refusal(org, response.status, response.headers, answer.body)
    kind, mend = _advice(org, code)
    hide = hidden(org)
    shown = quoted(code, hide=hide, limit=60)
    return kind(
        f'Okta refuses the service app ({where(org)}, HTTP {response.status}, {shown}, "{quoted(said, hide=hide)}"): {mend}',
        status=response.status,
        error_code=shown,
        request_id=request_id(response.headers, hide),
        date=parse_date(response.headers.get("Date")),
    )


def requires_dpop(answer: TokenAnswer | None) -> bool:
    """Tell whether Okta refused a plain token request because the app requires DPoP."""
    if answer is None or answer.status != HTTPStatus.BAD_REQUEST:
        return False
    return _oauth_error(answer.body)[0] == _DPOP_REQUIRED


def _advice(org: OrgAccess, code: str) -> tuple[type[SystemLogError], str]:
    if "dpop" in code:
        forbidden = org.app is not None and org.app.dpop is False
        return TokenRefusedError, _DPOP_FORBIDDEN if forbidden else _CLOCK
    return _ADVICE.get(code, (TokenRefusedError, "check the app's settings in the Admin Console"))


def _oauth_error(body: str) -> tuple[str, str]:
    """Give OAuth's ``error`` and what it says, as far as the body holds them."""
    try:
        told: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(told, dict) or not isinstance(told.get("error"), str):
        return "", ""
    said = told.get("error_description")
    return told["error"], said if isinstance(said, str) else ""
