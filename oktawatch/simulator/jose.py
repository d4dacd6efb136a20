"""Signed tokens of others: verified with a key, by the one clock that counts here.

PyJWT checks signatures. Times are checked by who asks, because its own checks look at the machine's clock.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
"""Okta: what a client may sign with."""

_IDENTIFYING = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y")}


class JoseError(Exception):
    """A token or a key that is not what it should be."""


@dataclass(frozen=True)
class Signed:
    """A token's two parts that say something."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    def text(self, name: str) -> str | None:
        """Return a claim that is a text; None when it is none."""
        value = self.claims.get(name)
        return value if isinstance(value, str) else None

    def seconds(self, name: str) -> float | None:
        """Return a claim that is a time, in epoch seconds; None when it is none."""
        value = self.claims.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def peek(token: str) -> Signed:
    """Return what a token says of itself, which nobody has verified yet. Raises JoseError."""
    try:
        told = jwt.PyJWS().decode_complete(token, options={"verify_signature": False})
        return _signed(told)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise JoseError(str(error)) from None


def verify(token: str, key: Mapping[str, Any]) -> Signed:
    """Return what a token says when this public JWK's owner has signed it. Raises JoseError."""
    try:
        algorithm = peek(token).header.get("alg")
        if algorithm not in ALGORITHMS:
            raise JoseError("an algorithm that proves nothing")
        public = jwt.PyJWK(dict(key), algorithm)
        return _signed(jwt.PyJWS().decode_complete(token, public, algorithms=ALGORITHMS))
    except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
        raise JoseError(str(error)) from None


def _signed(token: Mapping[str, Any]) -> Signed:
    claims = json.loads(token["payload"])
    if not isinstance(claims, dict):
        raise JoseError("the claims are no object")
    return Signed(token["header"], claims)


def thumbprint(key: Mapping[str, Any]) -> str:
    """Return the name of a public JWK that follows from the key itself (RFC 7638). Raises JoseError."""
    names = _IDENTIFYING.get(str(key.get("kty")))
    if names is None or "d" in key or not all(isinstance(key.get(name), str) for name in names):
        raise JoseError("not a public key")
    canonical = json.dumps({name: key[name] for name in names}, separators=(",", ":"))
    return digest(canonical)


def digest(text: str) -> str:
    """Return the SHA-256 of a text as tokens spell it: base64url without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@dataclass
class Once:
    """Ids of tokens that may be used once, each remembered for as long as its token could be good."""

    _until: dict[str, float] = field(default_factory=dict)

    def use(self, token_id: str, until: float, now: float) -> bool:
        """Use an id up; return whether it was new. Times are in epoch seconds."""
        for oldest in list(self._until):
            if self._until[oldest] >= now:
                break
            del self._until[oldest]
        fresh = token_id not in self._until
        self._until[token_id] = until
        return fresh
