"""Authorization of requests to the System Log.

An API token is sent as `SSWS <token>`, an OAuth access token as `Bearer <token>`. An access token that is bound to
a key is sent as `DPoP <token>`, with a proof in a second header.
"""

import hmac
from dataclasses import replace
from urllib.parse import urlsplit

from . import errors
from .dpop import Proof, ProofError
from .errors import OktaError
from .jose import ALGORITHMS
from .oauth import READ_LOGS
from .org import Org


def authorize(org: Org, header: str | None, proof: Proof) -> None:
    """Check the Authorization header of a System Log request. Raises OktaError.

    Exactly one space follows the scheme: Okta refuses `SSWS<token>`, which some clients send.
    """
    scheme, _, token = (header or "").partition(" ")
    if scheme == "SSWS" and _equal(token, org.token):
        if not org.can_read_logs:
            raise errors.no_permission()
    elif scheme in {"Bearer", "DPoP"}:
        _authorize_app(org, scheme, token, proof)
    else:
        raise errors.invalid_token()


def _authorize_app(org: Org, scheme: str, token: str, proof: Proof) -> None:
    grant = org.oauth.grant(token)
    if grant is None or (scheme == "DPoP" and grant.key is None):
        raise _challenge(
            errors.invalid_token(), proof, scheme, "invalid_token", "The access token is invalid."
        )
    if grant.key is not None:
        # A bound token sent with the Bearer scheme is refused even if the request has a DPoP header.
        checked = proof if scheme == "DPoP" else replace(proof, token=None)
        try:
            org.oauth.proofs.check_bound(checked, token, grant.key)
        except ProofError as error:
            refusal = errors.ChallengeError(400, error.code, str(error))
            raise _challenge(refusal, proof, "DPoP", error.code, str(error)) from None
    if READ_LOGS not in grant.scopes:
        reason = "The access token provided does not contain the required scopes."
        raise _challenge(errors.no_feature(), proof, scheme, "insufficient_scope", reason)
    if not grant.app.can_read_logs:
        raise errors.no_permission()


def _challenge(refusal: OktaError, proof: Proof, scheme: str, code: str, reason: str) -> OktaError:
    """Add a `WWW-Authenticate` header with the reason to a refusal (RFC 6750, RFC 9449), and return it."""
    address = urlsplit(proof.url)
    origin = f"{address.scheme}://{address.netloc}"
    parameters = {
        "authorization_uri": f"{origin}/oauth2/v1/authorize",
        "realm": origin,
        "scope": READ_LOGS,
        "error": code,
        "error_description": reason,
        "resource": address.path,
    }
    if scheme == "DPoP":
        parameters = {"algs": " ".join(ALGORITHMS)} | parameters
    parts = ", ".join(f'{name}="{value}"' for name, value in parameters.items())
    refusal.headers = {"WWW-Authenticate": f"{scheme} {parts}"}
    return refusal


def _equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(errors="surrogateescape"), token.encode())
