"""Sign OAuth tokens in a thread instead of the event loop.

The SDK signs synchronously: a client assertion for each token request, and a DPoP proof for each request. Both are
slow, and generating a DPoP key is slower. With many orgs, this would block the event loop. Instead of a signed token, the
SDK gets a ``DeferredSignature``: an empty string that carries the signing function as an attribute. ``PageHttpClient``
calls the function in a thread just before it sends the request.

Each request gets a new assertion, because Okta consumes it even when it only answers with a nonce.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from okta.dpop import DPoPProofGenerator
from okta.oauth import OAuth
from okta.request_executor import RequestExecutor

T = TypeVar("T")

# Separate from asyncio's default executor.
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
    """The SDK's OAuth with deferred signatures. Create it in a thread, because it can generate a key."""

    def __init__(self, executor: RequestExecutor, config: dict[str, Any], *, dpop: bool) -> None:
        super().__init__(executor, config)
        if dpop:
            self._dpop_generator = _Proofs(config["client"])
            self._dpop_enabled = True

    def get_JWT(self) -> str:  # noqa: N802 -- the SDK's name
        """Return the client assertion of a token request."""
        return DeferredSignature.by(super().get_JWT)


class _Proofs(DPoPProofGenerator):  # type: ignore[misc]  # likewise
    """The SDK's DPoP proofs with deferred signatures and a key that is parsed once."""

    def generate_proof_jwt(self, *args: Any, **kwargs: Any) -> str:
        """Return the proof of a request."""
        return DeferredSignature.by(partial(super().generate_proof_jwt, *args, **kwargs))

    def _rotate_keys_internal(self) -> None:
        super()._rotate_keys_internal()
        generated: Any = vars(self)["_rsa_key"]
        self._rsa_key = _ParsedKey(load_pem_private_key(generated.export_key(), password=None))


class _ParsedKey:
    """A key that the signer uses directly. The SDK would serialize it to PEM and parse it for each proof."""

    def __init__(self, key: PrivateKeyTypes) -> None:
        self._key = key

    def export_key(self) -> PrivateKeyTypes:
        """Return the key."""
        return self._key
