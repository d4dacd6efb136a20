"""Sign OAuth tokens in a thread instead of the event loop.

The SDK signs synchronously: a client assertion for each token request, and a DPoP proof for each request. Both are
slow, and generating a DPoP key is slower. With many orgs, this would block the event loop. Instead of a signed token, the
SDK gets a ``DeferredSignature``: an empty string that carries the signing function as an attribute. ``PageHttpClient``
calls the function in a thread just before it sends the request.

Each token request gets a new assertion, because Okta accepts an assertion only once. A request that Okta answers with
only a nonce uses up its assertion, too.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import RSAAlgorithm
from okta.dpop import RSA_KEY_SIZE_BITS, DPoPProofGenerator
from okta.jwt import JWT
from okta.oauth import OAuth
from okta.request_executor import RequestExecutor

T = TypeVar("T")

_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="oktawatch-signing")


async def in_thread(work: Callable[[], T]) -> T:
    """Run CPU-bound work in a thread, and return its result."""
    return await asyncio.get_running_loop().run_in_executor(_thread, work)


class DeferredSignature(str):
    """An empty string to the SDK. ``sign`` returns the text to send instead."""

    __slots__ = ("sign",)
    sign: Callable[[], str]

    @classmethod
    def by(cls, sign: Callable[[], str]) -> "DeferredSignature":
        """Wrap a signing function."""
        text = cls()
        text.sign = sign
        return text


async def signed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return headers or form fields with all deferred signatures signed."""
    return {
        name: await in_thread(value.sign) if isinstance(value, DeferredSignature) else value
        for name, value in fields.items()
    }


class ServiceAppOAuth(OAuth):  # type: ignore[misc]  # the SDK ships no types
    """The SDK's OAuth with deferred signatures. Create it in a thread, because parsing and generating keys is slow."""

    def __init__(self, executor: RequestExecutor, config: dict[str, Any], *, dpop: bool) -> None:
        super().__init__(executor, config)
        self._key: Any = load_pem_private_key(config["client"]["privateKey"].encode(), password=None)
        if dpop:
            self._dpop_generator = _Proofs(config["client"])
            self._dpop_enabled = True

    def get_JWT(self) -> str:  # noqa: N802 -- the SDK's name
        """Return the client assertion of a token request."""
        return DeferredSignature.by(self._assertion)

    def _assertion(self) -> str:
        """Sign the SDK's assertion. The SDK itself would parse the key three times for each assertion, in 0.14 s."""
        client = self._config["client"]
        now = int(time.time())
        claims = {
            "iss": client["clientId"],
            "sub": client["clientId"],
            "aud": client["orgUrl"] + JWT.OAUTH_ENDPOINT,
            "iat": now,
            "exp": now + JWT.EXPIRATION,
            "jti": str(uuid.uuid4()),
        }
        headers = {"kid": client["kid"]} if client["kid"] else None
        return jwt.encode(claims, self._key, JWT.HASH_ALGORITHM, headers)


class _Proofs(DPoPProofGenerator):  # type: ignore[misc]  # the SDK ships no types
    """The SDK's DPoP proofs with deferred signatures, and a key that OpenSSL generates in a fifth of the SDK's time."""

    def generate_proof_jwt(self, *args: Any, **kwargs: Any) -> str:
        """Return the proof of a request."""
        return DeferredSignature.by(partial(super().generate_proof_jwt, *args, **kwargs))

    def _rotate_keys_internal(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_KEY_SIZE_BITS)
        public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        self._rsa_key = _Key(key)
        self._public_jwk = {name: public[name] for name in ("kty", "n", "e")}
        self._key_created_at = time.time()


class _Key:
    """A parsed key for the SDK's signer. The SDK's own class would serialize it to PEM, to be parsed again, for each proof."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key

    def export_key(self) -> rsa.RSAPrivateKey:
        """Return the key."""
        return self._key
