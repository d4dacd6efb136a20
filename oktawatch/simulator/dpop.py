"""DPoP (RFC 9449): an access token is bound to a key, and each request proves that its sender has the key.

A proof is a JWT that the sender signs for a single request. It names the request's method and URL, the time, and, on
an API call, the access token. Okta's token endpoint requires a nonce in the proof as well; its APIs don't.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from .jose import JoseError, Signed, SingleUseIds, peek, sha256_base64url, thumbprint, verify

LEEWAY = 300
"""Allowed clock skew between the sender of a proof and the org, in seconds."""
NONCE_LIFETIME = 24 * 3600
"""In seconds."""


@dataclass(frozen=True)
class Proof:
    """The DPoP proof of a request, and the request that it must match."""

    token: str | None
    """The `DPoP` header. None if it is absent."""
    method: str
    url: str
    """The URL of the request, without the query."""


class ProofError(Exception):
    """An invalid proof. `code` is the OAuth error code."""

    def __init__(self, description: str, code: str = "invalid_dpop_proof") -> None:
        super().__init__(description)
        self.code = code


class ProofChecker:
    """Checks proofs, and accepts each of them once. `now` is the org's clock, in epoch seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._used = SingleUseIds()
        self._nonce = secrets.token_urlsafe(24)
        self._nonce_since: float | None = None

    @property
    def nonce(self) -> str:
        """The nonce that the token endpoint requires. It changes every day."""
        if self._nonce_since is None:
            self._nonce_since = self._now()
        if not 0 <= self._now() - self._nonce_since < NONCE_LIFETIME:
            self.renew_nonce()
        return self._nonce

    def renew_nonce(self) -> None:
        """Replace the nonce."""
        self._nonce, self._nonce_since = secrets.token_urlsafe(24), self._now()

    def check(self, proof: Proof) -> str:
        """Check a proof for the token endpoint, and return the thumbprint of its key. Raises ProofError."""
        sender_key, signed = _read(proof)
        self._check(signed, proof)
        if signed.text("nonce") != self.nonce:
            raise ProofError("Authorization server requires nonce in DPoP proof.", "use_dpop_nonce")
        self._use_up(signed)
        return sender_key

    def check_bound(self, proof: Proof, token: str, key: str) -> None:
        """Check a proof for an API call with an access token bound to `key`, a thumbprint. Raises ProofError."""
        sender_key, signed = _read(proof)
        self._check(signed, proof)
        if signed.text("ath") != sha256_base64url(token):
            raise _invalid("ath")
        if sender_key != key:
            raise ProofError("The DPoP proof JWT is not made with the key of the access token.")
        self._use_up(signed)

    def _check(self, signed: Signed, proof: Proof) -> None:
        issued = signed.seconds("iat")
        if signed.text("htm") != proof.method:
            raise _invalid("htm")
        if signed.text("htu") != proof.url:
            raise _invalid("htu")
        if issued is None or abs(self._now() - issued) > LEEWAY:
            raise _invalid("iat")
        if not signed.text("jti"):
            raise _invalid("jti")

    def _use_up(self, signed: Signed) -> None:
        now = self._now()
        if not self._used.use(signed.claims["jti"], now + 2 * LEEWAY, now):
            raise ProofError("The DPoP proof JWT has already been used.")


def _read(proof: Proof) -> tuple[str, Signed]:
    """Return the thumbprint of a proof's key, and the verified proof."""
    if proof.token is None:
        raise ProofError("The DPoP proof JWT header is missing.")
    try:
        header = peek(proof.token).header
        key = header.get("jwk")
        if isinstance(key, dict) and header.get("typ") == "dpop+jwt":
            return thumbprint(key), verify(proof.token, key)
    except JoseError:
        pass
    raise ProofError("The DPoP proof JWT is invalid.")


def _invalid(claim: str) -> ProofError:
    return ProofError(f"'{claim}' claim in the DPoP proof JWT is invalid.")
