"""A service app's private key is read in its usual formats, and an invalid one causes a clear error."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from oktawatch.systemlog.keys import read_private_key
from tests.support.signing import rsa_key, rsa_pem, rsa_private_jwk, rsa_public_jwk


def _pem(
    key: PrivateKeyTypes,
    form: PrivateFormat = PrivateFormat.PKCS8,
    encryption: KeySerializationEncryption | None = None,
) -> str:
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(rsa_pem(), id="PKCS #8"),
        pytest.param(_pem(rsa_key(), PrivateFormat.TraditionalOpenSSL), id="PKCS #1"),
        pytest.param("\n".join(f"    {line}\r" for line in rsa_pem().splitlines()), id="indented"),
    ],
)
def test_a_pem_key_has_no_key_id(text: str) -> None:
    """A PEM key has no key id."""
    assert read_private_key(text) == (rsa_pem(), "")


@pytest.mark.parametrize(
    "more",
    [
        {},
        # Okta's Admin Console shows some of these, and the SDK breaks on lists, null and true.
        {"use": "sig", "alg": "RS256", "key_ops": ["sign"], "ext": True, "x5c": None},
    ],
)
def test_a_jwk_has_a_key_id(more: dict[str, Any]) -> None:
    """A JWK has a key id, and its other members change nothing."""
    assert read_private_key(json.dumps(rsa_private_jwk("k1") | more, indent=2)) == (rsa_pem(), "k1")


def test_a_jwk_without_a_key_id_gets_none() -> None:
    """A JWK without a key id gets none."""
    nameless = {name: value for name, value in rsa_private_jwk("").items() if name != "kid"}
    assert read_private_key(json.dumps(nameless)) == (rsa_pem(), "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("-----BEGIN PRIVATE KEY-----\n", "valid RSA private key in PEM", id="cut"),
        pytest.param(rsa_pem().replace("M", "N"), "valid RSA private key in PEM", id="damaged"),
        pytest.param(
            _pem(rsa_key(), encryption=BestAvailableEncryption(b"secret")), "not encrypted", id="encrypted"
        ),
        pytest.param(
            rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
            "RSA private key",
            id="public",
        ),
        pytest.param(_pem(ec.generate_private_key(ec.SECP256R1())), "RSA private key", id="another kind"),
        pytest.param(
            _pem(rsa.generate_private_key(65537, 1024)),  # noqa: S505 -- the test is that a small key is refused
            "at least 2048 bits",
            id="too small",
        ),
        pytest.param("{}", "a JSON object with kty RSA", id="empty JWK"),
        pytest.param('{"kty": "RSA", "d": "AQ', "a JSON object with kty RSA", id="cut JWK"),
        pytest.param('{"a":' * 100_000, "a JSON object with kty RSA", id="deep JWK"),
        pytest.param(json.dumps(rsa_public_jwk("k1")), "not the public key", id="public JWK"),
        pytest.param(
            json.dumps(rsa_private_jwk("k1") | {"n": 7}), "valid RSA private key as a JWK", id="odd JWK"
        ),
        pytest.param(
            json.dumps(rsa_private_jwk("k1") | {"p": "AQAB"}),
            "valid RSA private key as a JWK",
            id="damaged JWK",
        ),
    ],
)
def test_an_invalid_key_is_refused_without_quoting_it(text: str, expected: str) -> None:
    """An invalid key raises an error of one sentence that doesn't quote the key."""
    with pytest.raises(ValueError, match=expected) as caught:
        read_private_key(text)
    assert caught.value.__context__ is None or "Error" in type(caught.value.__context__).__name__
    assert not any(line in str(caught.value) for line in text.splitlines() if len(line) > 20)
