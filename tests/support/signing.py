"""Keys, assertions and DPoP proofs of a service app, valid or invalid."""

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from oktawatch.simulator.jose import sha256_base64url
from tests.support.logclient import NOW

CLIENT = "0oaexampleexampleexa"
SECONDS = int(NOW.timestamp())
_SERIAL = itertools.count()


class Signer:
    """A holder of a key pair."""

    def __init__(self, kid: str = "k1") -> None:
        self.kid = kid
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public(self) -> dict[str, Any]:
        """The public key as a JWK with its key id."""
        return ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True) | {"kid": self.kid}

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        """Return a token with these claims. None removes a claim."""
        payload = {name: value for name, value in claims.items() if value is not None}
        headers = {name: value for name, value in header.items() if value is not None}
        return jwt.encode(payload, self._key, algorithm="ES256", headers=headers)

    def assertion(self, audience: str, kid: str | None = "k1", **claims: Any) -> str:
        """Return an assertion that is valid at NOW, except for the given changes."""
        valid = {
            "iss": CLIENT,
            "sub": CLIENT,
            "aud": audience,
            "exp": SECONDS + 300,
            "jti": f"a-{next(_SERIAL)}",
        }
        return self.sign(valid | claims, kid=kid)

    def form(self, audience: str, scope: str = "okta.logs.read", **claims: Any) -> dict[str, str]:
        """Return the form of a token request with this assertion."""
        return {
            "grant_type": "client_credentials",
            "scope": scope,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": self.assertion(audience, **claims),
        }

    def proof(self, method: str, url: str, *, token: str | None = None, **claims: Any) -> str:
        """Return a DPoP proof for a request at NOW, except for the given changes."""
        valid = {"jti": f"p-{next(_SERIAL)}", "htm": method, "htu": url, "iat": SECONDS}
        if token is not None:
            valid["ath"] = sha256_base64url(token)
        public = {name: value for name, value in self.public.items() if name != "kid"}
        return self.sign(valid | claims, typ="dpop+jwt", jwk=public)


@functools.cache
def rsa_key() -> rsa.RSAPrivateKey:
    """Return a key pair like Okta's for a service app."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def rsa_pem() -> str:
    """Return the private key as PEM text."""
    return rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def rsa_private_jwk(kid: str) -> dict[str, Any]:
    """Return the private key as a JWK with string values only, because the SDK does not accept lists."""
    jwk = RSAAlgorithm.to_jwk(rsa_key(), as_dict=True) | {"kid": kid}
    return {name: value for name, value in jwk.items() if isinstance(value, str)}


def rsa_public_jwk(kid: str) -> dict[str, Any]:
    """Return the public key as a JWK."""
    return RSAAlgorithm.to_jwk(rsa_key().public_key(), as_dict=True) | {"kid": kid}
