"""A service app's private key, in the forms in which people have it.

The Okta SDK takes PEM and JWK too, but reads a JWK as Python and not as JSON (``null``, ``true`` and lists
break it), opens a text that is neither as a file, and finds out about a wrong key with the first request.
So a key is read here, once, and the SDK gets PEM.
"""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_SMALLEST = 2048
"""Bits. Okta: a key of a service app has at least so many."""


def read_private_key(text: str) -> tuple[str, str]:
    """Read a private key in PEM or as a JWK; give it in PEM, with the JWK's own ``kid`` ("" without one).

    Raises ValueError with what is expected, and no word of the key.
    """
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 -- only who has a key pays
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key, kid = _from_jwk(text) if text.lstrip().startswith("{") else (_from_pem(text), "")
    if key.key_size < _SMALLEST:
        raise ValueError(f"expected an RSA key of at least {_SMALLEST} bits")
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(), kid


def _from_pem(text: str) -> "RSAPrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 -- as above
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 -- as above

    lines = "\n".join(line.strip() for line in text.splitlines())
    try:
        return _rsa(load_pem_private_key(lines.encode(), password=None))
    except TypeError:  # it asks for a password
        problem = "expected a private key that is not encrypted: decrypt it with 'openssl pkey -in FILE'"
    except (ValueError, UnsupportedAlgorithm):
        problem = "expected an RSA private key in PEM, whole and undamaged"
    raise ValueError(problem)


def _from_jwk(text: str) -> "tuple[RSAPrivateKey, str]":
    from jwt.algorithms import RSAAlgorithm  # noqa: PLC0415 -- as above
    from jwt.exceptions import InvalidKeyError  # noqa: PLC0415 -- as above

    try:
        jwk: Any = json.loads(text)
    except (ValueError, RecursionError):
        jwk = None
    if not isinstance(jwk, dict) or jwk.get("kty") != "RSA":
        raise ValueError("expected a private key as a JWK: a JSON object with kty RSA")
    if "d" not in jwk:
        raise ValueError("expected the private key, and found the public one: a JWK with d in it")
    kid = jwk.get("kid")
    try:
        # Only what makes the key: an unknown use or operation is no reason to refuse it.
        parts = {
            name: jwk[name] for name in ("kty", "n", "e", "d", "p", "q", "dp", "dq", "qi") if name in jwk
        }
        return _rsa(RSAAlgorithm.from_jwk(parts)), kid if isinstance(kid, str) else ""
    except (InvalidKeyError, ValueError, TypeError, AttributeError):
        problem = "expected an RSA private key as a JWK, whole and undamaged"
    raise ValueError(problem)


def _rsa(key: object) -> "RSAPrivateKey":
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415 -- as above

    if isinstance(key, RSAPrivateKey):
        return key
    raise ValueError("not RSA")
