"""The Okta SDK's request executor, with an HTTP client of our own underneath.

The SDK's part is authentication and the request; ours is what goes over the wire and what comes back.
Its own HTTP client would follow redirects with the token, read the proxy from the environment, rewrite
the cursor's URL and parse every page twice, so ``PageHttpClient`` replaces it (Okta documents that class as
the place for it). A page's bytes pass the executor inside a ``PageBody``: a text that is trivial JSON to
the SDK and carries the bytes as an attribute. The POST of a service app's token request goes the same way,
and needs its body; what became of it is kept, since the SDK tells half of it or trips over it.

Errors are returned as the SDK's client returns them, not raised: an exception raised here would drag
along frames whose locals hold the Authorization header.
"""

import logging
import ssl
from http import HTTPStatus
from typing import Any

import aiohttp
import yarl
from isal import isal_zlib
from msgspec import Struct
from okta.cache.no_op_cache import NoOpCache
from okta.constants import LOGGER_NAME
from okta.http_client import HTTPClient
from okta.request_executor import RequestExecutor

from oktawatch import __version__
from oktawatch.resolver import Resolver
from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.signing import ServiceAppOAuth, signed

USER_AGENT = f"oktawatch/{__version__}"
LARGEST_BODY = 64 * 1024 * 1024
"""Bytes of a page, inflated; Okta's own pages have two or three megabytes. aiohttp inflates a little at a time."""
LARGEST_ERROR = 64 * 1024

_CONNECTIONS = 256  # one request in flight an org, so this many orgs never wait for each other
_KEPT_ALIVE = 75.0  # seconds: longer than the interval between two polls
_RENEWED_BEFORE = (
    1  # minutes that an access token has left; with the SDK's five, a token of five is never used twice
)

# It writes Authorization headers at DEBUG and tracebacks at ERROR.
logging.getLogger(LOGGER_NAME).disabled = True

aiohttp.set_zlib_backend(isal_zlib)


def open_session(trust: ssl.SSLContext | None) -> aiohttp.ClientSession:
    """Open a session that any number of orgs can share; the caller closes it.

    ``trust``: the certificates to accept; None for those of the system's authorities. The session keeps no
    cookies and does not read the environment (proxies, ``.netrc``).
    """
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=_CONNECTIONS,
            keepalive_timeout=_KEPT_ALIVE,
            ssl=True if trust is None else trust,
            resolver=Resolver(),
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )
    # A GET whose connection breaks would be sent once more, uncounted. aiohttp has no other switch.
    session._retry_connection = False  # noqa: SLF001
    return session


class PageBody(str):
    """An empty list to the SDK; the bytes of a page to us."""

    __slots__ = ("content",)
    content: bytes

    @classmethod
    def of(cls, content: bytes) -> "PageBody":
        """Wrap the bytes of a page."""
        body = cls("[]")
        body.content = content
        return body


class TooLargeError(Exception):
    """A body that is larger than any page."""


class TokenAnswer(Struct, frozen=True):
    """What became of the last token request: an answer with its body, or the error instead."""

    response: aiohttp.ClientResponse | None
    body: str
    error: Exception | None

    @property
    def status(self) -> int | None:
        """HTTP status."""
        return None if self.response is None else self.response.status


class PageHttpClient(HTTPClient):  # type: ignore[misc]  # the SDK ships no types
    """Sends what the executor made, and reads the answer once."""

    token_answer: TokenAnswer | None = None

    def _setup_proxy(self, proxy: str | None) -> str | None:
        # The SDK's own would look into HTTP_PROXY and HTTPS_PROXY when it is given none, and never into NO_PROXY.
        return proxy

    async def send_request(
        self, request: dict[str, Any]
    ) -> tuple[None, aiohttp.ClientResponse | None, str | None, Exception | None]:
        """Send a request; give the answer and its body, or the error instead."""
        page = request["method"] == "GET"
        headers = await signed(request["headers"])
        form = await signed(request["form"]) if request["form"] else None
        try:
            async with self._session.request(
                request["method"],
                yarl.URL(request["url"], encoded=True),
                headers=headers,
                data=form,
                timeout=self._timeout,
                proxy=self._proxy,
                allow_redirects=False,
            ) as response:
                body = await _read(response, page=page)
        except Exception as error:  # noqa: BLE001  no list covers what a hostile answer can break in a parser
            answer: tuple[None, aiohttp.ClientResponse | None, str | None, Exception | None]
            answer = None, None, None, error
        else:
            answer = None, response, body, None
        if not page:
            self.token_answer = TokenAnswer(answer[1], answer[2] or "", answer[3])
        return answer


async def _read(response: aiohttp.ClientResponse, *, page: bool) -> str:
    """Read a page whole, up to its bound; of anything else, only its beginning."""
    good = page and response.status == HTTPStatus.OK
    bound = LARGEST_BODY if good else LARGEST_ERROR
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > bound:
            response.close()
            break
    if not good:
        return b"".join(chunks)[:bound].decode("utf-8", "replace")
    if size > bound:
        raise TooLargeError(f"more than {bound} bytes")
    return PageBody.of(b"".join(chunks))


def make_executor(
    org: OrgAccess, session: aiohttp.ClientSession, *, timeout: float, dpop: bool
) -> RequestExecutor:
    """Build the SDK's executor for one org: no retries, no cache, nothing read from the environment.

    With ``dpop`` it generates a key, which takes a second of CPU: call it in a thread.
    """
    config: dict[str, Any] = {
        "client": {
            "orgUrl": org.url,
            "requestTimeout": timeout,
            "rateLimit": {"maxRetries": 0},
            "proxy": org.proxy,
            **_credentials(org),
        }
    }
    executor = RequestExecutor(config, NoOpCache(), PageHttpClient)
    if org.app is not None:
        executor._oauth = ServiceAppOAuth(executor, config, dpop=dpop)  # noqa: SLF001 -- it takes no other
    executor.set_custom_headers({"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"})
    executor.set_session(session)
    return executor


def _credentials(org: OrgAccess) -> dict[str, Any]:
    if org.app is None:
        return {"authorizationMode": "SSWS", "token": org.token}
    return {
        "authorizationMode": "PrivateKey",
        "clientId": org.app.client_id,
        "privateKey": org.app.private_key,
        "kid": org.app.kid or None,
        "scopes": list(org.app.scopes),
        "oauthTokenRenewalOffset": _RENEWED_BEFORE,
    }
