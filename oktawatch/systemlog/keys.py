"""Parse the private key of a service app, in PEM or as a JWK.

The SDK can parse both, but badly: it reads a JWK as a Python literal (``null``, ``true`` and lists of objects fail), opens
a file if the text is its path, and reports an invalid key only on the first request. So the key is parsed here, and the
SDK gets PEM.
"""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_SMALLEST = 2048
"""Okta's minimum size of a service app's key, in bits."""


def read_private_key(text: str) -> tuple[str, str]:
    """Return the key in PEM, and the JWK's ``kid`` (empty if there is none). ``text`` is PEM or a JWK.

    Raises ValueError with a description of the expected format, which doesn't quote the key.
    """
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 -- slow, and needed only with a key
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key, kid = _from_jwk(text) if text.lstrip().startswith("{") else (_from_pem(text), "")
    if key.key_size < _SMALLEST:
        raise ValueError(f"expected an RSA key of at least {_SMALLEST} bits")
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(), kid


def _from_pem(text: str) -> "RSAPrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 -- slow, and needed only with a key
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 -- slow, and needed only with a key

    lines = "\n".join(line.strip() for line in text.splitlines())
    try:
        return _rsa(load_pem_private_key(lines.encode(), password=None))
    except TypeError:  # the key is encrypted
        problem = "expected a private key that is not encrypted: decrypt it with 'openssl pkey -in FILE'"
    except (ValueError, UnsupportedAlgorithm):
        problem = "expected a valid RSA private key in PEM"
    raise ValueError(problem)


def _from_jwk(text: str) -> "tuple[RSAPrivateKey, str]":
    from jwt.algorithms import RSAAlgorithm  # noqa: PLC0415 -- slow, and needed only with a key
    from jwt.exceptions import InvalidKeyError  # noqa: PLC0415 -- slow, and needed only with a key

    try:
        jwk: Any = json.loads(text)
    except (ValueError, RecursionError):
        jwk = None
    if not isinstance(jwk, dict) or jwk.get("kty") != "RSA":
        raise ValueError("expected a private key as a JWK: a JSON object with kty RSA")
    if "d" not in jwk:
        raise ValueError("expected the private key, not the public key: a JWK with d")
    kid = jwk.get("kid")
    try:
        # Pass only the numbers of the key, because PyJWT refuses unknown values of other members.
        parts = {
            name: jwk[name] for name in ("kty", "n", "e", "d", "p", "q", "dp", "dq", "qi") if name in jwk
        }
        return _rsa(RSAAlgorithm.from_jwk(parts)), kid if isinstance(kid, str) else ""
    except (InvalidKeyError, ValueError, TypeError, AttributeError):
        problem = "expected a valid RSA private key as a JWK"
    raise ValueError(problem)


def _rsa(key: object) -> "RSAPrivateKey":
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415 -- slow, and needed only with a key

    if isinstance(key, RSAPrivateKey):
        return key
    raise ValueError("not RSA")  # never shown: both callers replace the text
