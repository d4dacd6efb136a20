"""Verification of signed tokens (JWS) and keys (JWK).

PyJWT checks the signatures. Callers check the times, because PyJWT uses the machine's clock instead of the org's.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
"""The signature algorithms that Okta accepts."""

_IDENTIFYING = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y")}


class JoseError(Exception):
    """An invalid token or key."""


@dataclass(frozen=True)
class Signed:
    """The header and the claims of a token."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    def text(self, name: str) -> str | None:
        """Return a claim if it is a string, otherwise None."""
        value = self.claims.get(name)
        return value if isinstance(value, str) else None

    def seconds(self, name: str) -> float | None:
        """Return a claim if it is a number of seconds since 1970, otherwise None."""
        value = self.claims.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def peek(token: str) -> Signed:
    """Parse a token without verifying it. Raises JoseError."""
    try:
        return _signed(jwt.PyJWS().decode_complete(token, options={"verify_signature": False}))
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise JoseError(str(error)) from None


def verify(token: str, key: Mapping[str, Any]) -> Signed:
    """Verify the signature of a token with a public JWK, and return the parsed token. Raises JoseError."""
    try:
        algorithm = peek(token).header.get("alg")
        if algorithm not in ALGORITHMS:
            raise JoseError("unsupported algorithm")
        public = jwt.PyJWK(dict(key), algorithm)
        return _signed(jwt.PyJWS().decode_complete(token, public, algorithms=ALGORITHMS))
    except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
        raise JoseError(str(error)) from None


def _signed(token: Mapping[str, Any]) -> Signed:
    claims = json.loads(token["payload"])
    if not isinstance(claims, dict):
        raise JoseError("the claims are not an object")
    return Signed(token["header"], claims)


def thumbprint(key: Mapping[str, Any]) -> str:
    """Return the thumbprint of a public JWK (RFC 7638). Raises JoseError."""
    names = _IDENTIFYING.get(str(key.get("kty")))
    if names is None or "d" in key or not all(isinstance(key.get(name), str) for name in names):
        raise JoseError("not a public key")
    canonical = json.dumps({name: key[name] for name in names}, separators=(",", ":"))
    return sha256_base64url(canonical)


def sha256_base64url(text: str) -> str:
    """Return the SHA-256 of a text in base64url without padding, the encoding of JOSE."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@dataclass
class SingleUseIds:
    """Ids of single-use tokens. Each id is remembered at least until its token expires."""

    _until: dict[str, float] = field(default_factory=dict)

    def use(self, token_id: str, until: float, now: float) -> bool:
        """Record the use of an id, and return whether it is the first use. Times are in epoch seconds."""
        for oldest in list(self._until):
            if self._until[oldest] >= now:
                break
            del self._until[oldest]
        fresh = token_id not in self._until
        self._until[token_id] = until
        return fresh
