"""The Okta SDK's request executor with a custom HTTP client.

The SDK authenticates and builds requests. Its HTTP client would follow redirects with the token, read the proxy from the
environment, rewrite the URL of a cursor and parse every page twice. ``PageHttpClient`` replaces it, at the extension point
that Okta documents.

The executor expects a string with JSON, and would parse a whole page. It gets a ``PageBody`` instead: the string ``[]``,
whose attribute ``content`` has the bytes of the page.

Token requests use the same client. Their last answer is kept in ``token_answer``, because the SDK drops parts of some
error answers and fails to parse others.

Like the SDK's client, this client returns errors instead of raising them. The frames of a traceback would contain the
Authorization header.
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
"""The maximum size of a decompressed page in bytes. Okta's pages have two or three megabytes."""
LARGEST_ERROR = 64 * 1024
"""The maximum number of bytes to read of a body that is not a page."""

_CONNECTIONS = 256  # each org uses one connection at a time, so 256 orgs can send requests in parallel
_KEEPALIVE_S = 75.0  # longer than the default interval between two polls
# The remaining lifetime at which an access token is renewed. With the SDK's default of five minutes, a token that is
# valid for five minutes would never be used twice.
_RENEWAL_OFFSET_MIN = 1

# The SDK's logger writes Authorization headers at DEBUG and tracebacks at ERROR.
logging.getLogger(LOGGER_NAME).disabled = True

aiohttp.set_zlib_backend(isal_zlib)


def open_session(trust: ssl.SSLContext | None) -> aiohttp.ClientSession:
    """Open a session that any number of orgs can share. The caller closes it.

    ``trust`` is the TLS context. None trusts the system's CAs. The session keeps no cookies and ignores the environment
    (proxies, ``.netrc``).
    """
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=_CONNECTIONS,
            keepalive_timeout=_KEEPALIVE_S,
            ssl=True if trust is None else trust,
            resolver=Resolver(),
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )
    # aiohttp would retry a GET after a broken connection, without counting it. There is no public option.
    session._retry_connection = False  # noqa: SLF001 -- see above
    return session


class PageBody(str):
    """An empty JSON list to the SDK. ``content`` has the bytes of the page."""

    __slots__ = ("content",)
    content: bytes

    @classmethod
    def of(cls, content: bytes) -> "PageBody":
        """Wrap the bytes of a page."""
        body = cls("[]")
        body.content = content
        return body


class TooLargeError(Exception):
    """A body that exceeds the maximum size."""


class TokenAnswer(Struct, frozen=True):
    """The result of a token request: an answer with its body, or an error."""

    response: aiohttp.ClientResponse | None
    body: str
    error: Exception | None

    @property
    def status(self) -> int | None:
        """The HTTP status."""
        return None if self.response is None else self.response.status


class PageHttpClient(HTTPClient):  # type: ignore[misc]  # the SDK ships no types
    """Sends the requests of the SDK's executor and reads the answers."""

    token_answer: TokenAnswer | None = None
    """The result of the last token request. `LogClient` resets it before it builds a request for a page."""

    def _setup_proxy(self, proxy: str | None) -> str | None:
        # Without a proxy, the SDK would use HTTP_PROXY and HTTPS_PROXY, and ignore NO_PROXY.
        return proxy

    async def send_request(
        self, request: dict[str, Any]
    ) -> tuple[None, aiohttp.ClientResponse | None, str | None, Exception | None]:
        """Send a request. Return the answer and its body, or the error."""
        is_page = request["method"] == "GET"  # token requests use POST
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
                body = await _read(response, is_page=is_page)
        except Exception as error:  # noqa: BLE001 -- a hostile answer can raise any exception in a parser
            answer: tuple[None, aiohttp.ClientResponse | None, str | None, Exception | None]
            answer = None, None, None, error
        else:
            answer = None, response, body, None
        if not is_page:
            self.token_answer = TokenAnswer(answer[1], answer[2] or "", answer[3])
        return answer


async def _read(response: aiohttp.ClientResponse, *, is_page: bool) -> str:
    """Read the body of a page, or the beginning of any other body. Raise TooLargeError if the page is too large."""
    whole = is_page and response.status == HTTPStatus.OK
    bound = LARGEST_BODY if whole else LARGEST_ERROR
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > bound:
            response.close()
            break
    if not whole:
        return b"".join(chunks)[:bound].decode("utf-8", "replace")
    if size > bound:
        raise TooLargeError(f"more than {bound} bytes")
    return PageBody.of(b"".join(chunks))


def make_executor(
    org: OrgAccess, session: aiohttp.ClientSession, *, timeout: float, dpop: bool
) -> RequestExecutor:
    """Build the SDK's executor for an org, without retries, cache or settings from the environment.

    With ``dpop``, this generates a key, which is slow. Call it in a thread.
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
        executor._oauth = ServiceAppOAuth(executor, config, dpop=dpop)  # noqa: SLF001 -- the SDK has no parameter for this
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
        "oauthTokenRenewalOffset": _RENEWAL_OFFSET_MIN,
    }
