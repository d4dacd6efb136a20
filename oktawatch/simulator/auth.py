"""Who may read the System Log.

An API token comes as `SSWS <token>`, an OAuth access token as `Bearer <token>` or, when it is bound to a key, as
`DPoP <token>` with a proof beside it.
"""

import hmac
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from . import errors
from .dpop import Proof, ProofError
from .errors import OktaError
from .jose import ALGORITHMS
from .oauth import READ_LOGS

if TYPE_CHECKING:
    from .org import SimulatedOrg


def new_token() -> str:
    """Return a token of the shape that Okta's have: `00` and forty more characters."""
    return "00" + secrets.token_urlsafe(30)


def authorize(org: "SimulatedOrg", header: str | None, proof: Proof) -> None:
    """Let a request to the System Log pass that comes with such an Authorization header, or raise OktaError.

    The scheme and its one space are part of it: Okta refuses `SSWS<token>`, which some clients send.
    """
    scheme, _, token = (header or "").partition(" ")
    if scheme == "SSWS" and _same(token, org.token):
        if not org.may_read:
            raise errors.no_permission()
    elif scheme in {"Bearer", "DPoP"}:
        _authorize_app(org, scheme, token, proof)
    else:
        raise errors.invalid_token()


def _authorize_app(org: "SimulatedOrg", scheme: str, token: str, proof: Proof) -> None:
    grant = org.oauth.grant(token)
    if grant is None or (scheme == "DPoP" and grant.key is None):
        raise _told(errors.invalid_token(), proof, scheme, "invalid_token", "The access token is invalid.")
    if grant.key is not None:
        # A bound token that comes as a bearer's proves nothing, whatever stands beside it.
        brought = proof if scheme == "DPoP" else replace(proof, token=None)
        try:
            org.oauth.proofs.check_bound(brought, token, grant.key)
        except ProofError as error:
            refusal = errors.ChallengeError(400, error.code, str(error))
            raise _told(refusal, proof, "DPoP", error.code, str(error)) from None
    if READ_LOGS not in grant.scopes:
        reason = "The access token provided does not contain the required scopes."
        raise _told(errors.no_feature(), proof, scheme, "insufficient_scope", reason)
    if not grant.app.may_read:
        raise errors.no_permission()


def _told(refusal: OktaError, proof: Proof, scheme: str, code: str, reason: str) -> OktaError:
    """Return a refusal that says in a header too what it is about (RFC 6750, RFC 9449)."""
    address = urlsplit(proof.url)
    origin = f"{address.scheme}://{address.netloc}"
    told = {
        "authorization_uri": f"{origin}/oauth2/v1/authorize",
        "realm": origin,
        "scope": READ_LOGS,
        "error": code,
        "error_description": reason,
        "resource": address.path,
    }
    if scheme == "DPoP":
        told = {"algs": " ".join(ALGORITHMS)} | told
    parts = ", ".join(f'{name}="{value}"' for name, value in told.items())
    refusal.headers = {"WWW-Authenticate": f"{scheme} {parts}"}
    return refusal


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(errors="surrogateescape"), token.encode())
