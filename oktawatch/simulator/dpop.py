"""DPoP: a token is bound to a key, and each request proves that its sender has that key (RFC 9449).

A proof is a token of the sender's own, made for one request: for its method and address, now, once, and on an
API call for the access token beside it. Okta's token endpoint asks for a nonce of its own in it too; its APIs do
not.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from .jose import JoseError, Once, Signed, digest, peek, thumbprint, verify

LEEWAY = 300
"""Seconds by which the clock of whoever made a proof may be off."""
NONCE_LIFETIME = 24 * 3600


@dataclass(frozen=True)
class Proof:
    """What a request brings to prove that its sender has a key."""

    token: str | None
    """The `DPoP` header."""
    method: str
    url: str
    """Of the request, without query."""


class ProofError(Exception):
    """A proof that proves nothing: OAuth's error code and a sentence."""

    def __init__(self, description: str, code: str = "invalid_dpop_proof") -> None:
        super().__init__(description)
        self.code = code


class ProofChecker:
    """Checks proofs, each of which is good once. `now` is the org's clock, in epoch seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._used = Once()
        self._nonce = secrets.token_urlsafe(24)
        self._nonce_since: float | None = None

    @property
    def nonce(self) -> str:
        """The nonce that the token endpoint asks for; a new one each day."""
        if self._nonce_since is None:
            self._nonce_since = self._now()
        if not 0 <= self._now() - self._nonce_since < NONCE_LIFETIME:
            self.renew_nonce()
        return self._nonce

    def renew_nonce(self) -> None:
        """Ask for another nonce from now on."""
        self._nonce, self._nonce_since = secrets.token_urlsafe(24), self._now()

    def check(self, proof: Proof) -> str:
        """Return the thumbprint of the key that a proof for the token endpoint proves. Raises ProofError."""
        owner, signed = _read(proof)
        self._check(signed, proof)
        if signed.text("nonce") != self.nonce:
            raise ProofError("Authorization server requires nonce in DPoP proof.", "use_dpop_nonce")
        self._use_up(signed)
        return owner

    def check_bound(self, proof: Proof, token: str, key: str) -> None:
        """Let a call pass that proves the key, known by its thumbprint, of its access token. Raises ProofError."""
        owner, signed = _read(proof)
        self._check(signed, proof)
        if signed.text("ath") != digest(token):
            raise _invalid("ath")
        if owner != key:
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
    """Return the thumbprint of a proof's key, and the proof, which that key has signed."""
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
