"""Download a file over HTTP, with limits on everything that a server controls.

The URL can contain a secret, so no error quotes it or aiohttp's own text. A redirect is followed only to https or to
the same scheme and host. Each redirect uses the proxy for its URL. Credentials in a URL are not sent to another host.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import IO, TYPE_CHECKING

from pydantic import SecretStr

from oktawatch import __version__
from oktawatch.engine.evidence_updates import EvidenceUpdateError, Validators
from oktawatch.notify.channel import Way
from oktawatch.notify.webhook import explain_client_error

if TYPE_CHECKING:
    import aiohttp
    import yarl

_TIME_LIMIT_S = 300.0
_CONNECT_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 30.0
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.SEE_OTHER,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)
_LONGEST_VALIDATOR = 1_000  # characters
_BATCH = 1024**2  # bytes that are written at once, in a thread
_MIB = 1024**2


async def download(
    url: SecretStr,
    to: IO[bytes],
    known: Validators | None,
    *,
    way: Callable[[SecretStr], Way],
    limit: int,
) -> Validators | None:
    """Write the file of a URL to ``to``. Return its validators, or None if the server has the ``known`` version.

    ``way`` selects the proxy and the TLS context for a URL. ``limit`` is the maximum size in bytes, decompressed.
    Raises EvidenceUpdateError, and OSError if the file can't be written.
    """
    import aiohttp  # noqa: PLC0415 -- only needed where a source has a URL

    from oktawatch.resolver import Resolver  # noqa: PLC0415 -- only needed where a source has a URL

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=Resolver()),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=_READ_TIMEOUT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )
    try:
        async with session, asyncio.timeout(_TIME_LIMIT_S):
            return await _Download(session, to, way=way, limit=limit).run(url, known)
    except TimeoutError:
        raise _unreachable("no complete answer in time") from None
    except aiohttp.ClientError as error:
        raise _unreachable(explain_client_error(error)) from None
    except ValueError as error:
        raise _unreachable(f"no usable answer ({type(error).__name__})") from None


class _Download:
    """One download with its redirects."""

    def __init__(
        self,
        session: "aiohttp.ClientSession",
        to: IO[bytes],
        *,
        way: Callable[[SecretStr], Way],
        limit: int,
    ) -> None:
        self._session = session
        self._to = to
        self._way = way
        self._limit = limit

    async def run(self, url: SecretStr, known: Validators | None) -> Validators | None:
        import yarl  # noqa: PLC0415 -- as in `download`

        target = yarl.URL(url.get_secret_value())
        for _ in range(_MOST_REDIRECTS + 1):
            way = self._way(SecretStr(str(target)))
            async with self._session.get(
                target,
                headers=_headers(known),
                allow_redirects=False,
                proxy=way.proxy,
                ssl=way.trust or True,
            ) as response:
                if response.status in _REDIRECTS:
                    target = _redirected(target, response)
                    continue
                if response.status == HTTPStatus.NOT_MODIFIED:
                    return None
                if response.status != HTTPStatus.OK:
                    raise _unreachable(f"status {response.status}")
                await self._write(response)
                return Validators(_validator(response, "ETag"), _validator(response, "Last-Modified"))
        raise _unreachable(f"more than {_MOST_REDIRECTS} redirects")

    async def _write(self, response: "aiohttp.ClientResponse") -> None:
        batch = bytearray()
        size = 0
        async for chunk in response.content.iter_any():
            batch += chunk
            size += len(chunk)
            if size > self._limit:
                response.close()
                raise EvidenceUpdateError(f"the file is larger than {self._limit // _MIB} MiB")
            if len(batch) >= _BATCH:
                await asyncio.to_thread(self._to.write, bytes(batch))
                batch.clear()
        await asyncio.to_thread(self._to.write, bytes(batch))


def _headers(known: Validators | None) -> dict[str, str]:
    headers = {"User-Agent": f"oktawatch/{__version__}", "Accept-Encoding": "gzip"}
    if known is not None and known.etag is not None:
        headers["If-None-Match"] = known.etag
    if known is not None and known.last_modified is not None:
        headers["If-Modified-Since"] = known.last_modified
    return headers


def _redirected(url: "yarl.URL", response: "aiohttp.ClientResponse") -> "yarl.URL":
    """Return the URL of a redirect."""
    import yarl  # noqa: PLC0415 -- as in `download`

    target = url.join(yarl.URL(response.headers.get("Location", "")))
    if target.scheme != "https" and (target.scheme, target.host) != (url.scheme, url.host):
        # The settings allow plain http only for the local machine. A redirect to http must stay there.
        raise _unreachable("it redirects to a URL without https")
    return target


def _validator(response: "aiohttp.ClientResponse", header: str) -> str | None:
    value = response.headers.get(header)
    return value if value is not None and len(value) <= _LONGEST_VALIDATOR else None


def _unreachable(problem: str) -> EvidenceUpdateError:
    return EvidenceUpdateError(problem, reason="unreachable")
