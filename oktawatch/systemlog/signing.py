"""OAuth with the Okta SDK, without stopping the event loop to sign.

The SDK signs where it stands: a client assertion costs it a tenth of a second of CPU, a DPoP proof nearly
as much *for each request*, a DPoP key half a second and more. With 200 orgs the loop would do little else.
So what is to be signed goes through the SDK as a ``ToSign``: a text that is empty to the SDK and carries
the work as an attribute. Our HTTP client, the last to see it, has it done in a thread and sends what comes
of it.

Each is made for one request, as Okta wants it: an assertion is used up even by an answer that only asks
for a nonce.
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

# Not asyncio's own threads, which the resolver of the HTTP library uses.
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="oktawatch-signing")


async def in_thread(work: Callable[[], T]) -> T:
    """Do what takes the CPU for long beside the event loop."""
    return await asyncio.get_running_loop().run_in_executor(_thread, work)


class ToSign(str):
    """Nothing to the SDK; to us the work that makes what is sent in its place."""

    __slots__ = ("sign",)
    sign: Callable[[], str]

    @classmethod
    def by(cls, sign: Callable[[], str]) -> "ToSign":
        """Put work off until it is sent."""
        text = cls()
        text.sign = sign
        return text


async def signed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Sign what is to be signed among headers or the fields of a form."""
    return {
        name: await in_thread(value.sign) if isinstance(value, ToSign) else value
        for name, value in fields.items()
    }


class ServiceAppOAuth(OAuth):  # type: ignore[misc]  # the SDK ships no types
    """The SDK's OAuth; what it signs is signed later. Made in a thread, since it may make a key."""

    def __init__(self, executor: RequestExecutor, config: dict[str, Any], *, dpop: bool) -> None:
        super().__init__(executor, config)
        if dpop:
            self._dpop_generator = _Proofs(config["client"])
            self._dpop_enabled = True

    def get_JWT(self) -> str:  # noqa: N802 -- the SDK's own name
        """Give the client assertion of one token request."""
        return ToSign.by(super().get_JWT)


class _Proofs(DPoPProofGenerator):  # type: ignore[misc]  # likewise
    """The SDK's DPoP proofs; signed later, with a key that is not parsed anew for each."""

    def generate_proof_jwt(self, *args: Any, **kwargs: Any) -> str:
        """Give the proof of one request."""
        return ToSign.by(partial(super().generate_proof_jwt, *args, **kwargs))

    def _rotate_keys_internal(self) -> None:
        super()._rotate_keys_internal()
        made: Any = vars(self)["_rsa_key"]
        self._rsa_key = _ParsedKey(load_pem_private_key(made.export_key(), password=None))


class _ParsedKey:
    """A key that is handed to the signer as it is, where the SDK's would be written as PEM and read again."""

    def __init__(self, key: PrivateKeyTypes) -> None:
        self._key = key

    def export_key(self) -> PrivateKeyTypes:
        """Give the key."""
        return self._key
