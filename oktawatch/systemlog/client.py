"""Read an org's System Log, page by page.

The client waits for its turn under the org's rate limit and sends the request. A request is retried after a 429, once
after a dropped connection, and once with a new access token. The client returns a ``Page`` or raises a
``SystemLogError``, and no other exception. Cancelling ``page`` ends it immediately, during a request or a wait.

A large page is decoded in a thread, so that it doesn't delay the requests to other orgs.

Importing this module loads the Okta SDK, which is slow and large. Import it only before a request.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
import structlog

from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.budget import RateBudget
from oktawatch.systemlog.errors import RequestRefusedError
from oktawatch.systemlog.http_errors import failure, refusal, unreadable, where
from oktawatch.systemlog.oauth_errors import requires_dpop, token_refusal
from oktawatch.systemlog.page import Page
from oktawatch.systemlog.priority import Priority
from oktawatch.systemlog.queries import LOGS_PATH
from oktawatch.systemlog.signing import in_thread
from oktawatch.systemlog.transport import PageBody, make_executor, open_session

if TYPE_CHECKING:
    from okta.request_executor import RequestExecutor

_log: Any = structlog.get_logger(__name__)

MAX_RATE_LIMITED = 5
"""The number of 429 answers after which a call of `page` gives up. Token requests are counted separately."""
TIMEOUT = 45.0
"""The timeout of a request in seconds. Okta aborts a query after 30 seconds."""

_LARGE_PAGE_BYTES = 256 * 1024  # decoding a smaller page is cheaper than handing it to a thread
_decoding = ThreadPoolExecutor(max_workers=2, thread_name_prefix="oktawatch-decoding")

_KEY_LIFETIME_S = 24 * 3600.0  # the SDK documents a daily rotation of DPoP keys, but doesn't rotate them


class LogClient:
    """A client for the System Log of an org.

    ``session`` shares connections with other clients (see ``open_session``). Without it, the client opens a session on
    the first request. ``budget`` is shared by all clients of the org in the process.
    """

    def __init__(
        self,
        org: OrgAccess,
        *,
        session: aiohttp.ClientSession | None = None,
        budget: RateBudget | None = None,
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``clock`` is a monotonic clock in seconds. No connection is opened yet."""
        self.org = org
        self.budget = budget or RateBudget()
        self._shared_session = session
        self._own_session: aiohttp.ClientSession | None = None
        self._timeout = timeout
        self._clock = clock
        self._executor: RequestExecutor | None = None
        self._executor_made_at = 0.0
        self._dpop = org.app is not None and bool(org.app.dpop)
        """Whether access tokens are bound to a key, because the configuration or Okta requires it."""

    async def page(self, query: str, priority: Priority = Priority.POLL) -> Page:
        """Fetch the page at a path and query, such as ``Page.resume``."""
        if not query.startswith(f"{LOGS_PATH}?"):
            raise RequestRefusedError(
                f"not a query of the System Log ({where(self.org)}, {query[:80]!r}): nothing was sent"
            )
        limited = 0
        renewed = reconnected = False
        while True:
            async with self.budget.turn(priority):
                response, body, error = await self._ask(query)
            if response is None:
                if reconnected or not _hung_up(error):
                    raise failure(self.org, error, self._timeout)
                reconnected = True
            elif response.status == HTTPStatus.TOO_MANY_REQUESTS and limited + 1 < MAX_RATE_LIMITED:
                limited += 1
            elif self.org.app is not None and _refuses_the_token(response) and not renewed:
                await self._forget_the_token()
                renewed = True
            else:
                return await self._read(query, response, body)

    async def close(self) -> None:
        """Close the client's own session. A shared session stays open."""
        self._executor = None
        if self._own_session is not None:
            await self._own_session.close()
            self._own_session = None

    async def _ask(self, query: str) -> tuple[aiohttp.ClientResponse | None, str, Exception | None]:
        """Send a request. Return the answer and its body, or the error. Raises SystemLogError if there is no access token."""
        executor = await self._connected()
        request = await self._request(executor, query)
        if request is None and self._switches_to_dpop(executor):
            executor = await self._connected()
            request = await self._request(executor, query)
        if request is None:
            answer = executor._http_client.token_answer  # noqa: SLF001 -- the SDK has no accessor for it
            raise token_refusal(self.org, answer, self._timeout)
        _, response, body, error = await executor.fire_request(request)
        if response is not None:
            self.budget.answered(response.status, response.headers)
        return response, body, error

    async def _forget_the_token(self) -> None:
        """Discard the access token, which has expired or was revoked. The next request gets a new one."""
        executor = await self._connected()
        executor._oauth.clear_access_token()  # noqa: SLF001 -- the SDK has no public method

    def _switches_to_dpop(self, executor: "RequestExecutor") -> bool:
        """Switch to access tokens that are bound to a key, if Okta demands this and the configuration allows it."""
        app = self.org.app
        undecided = app is not None and app.dpop is None and not self._dpop
        if not undecided or not requires_dpop(executor._http_client.token_answer):  # noqa: SLF001 -- the SDK has no accessor for it
            return False
        _log.info("dpop_required", org=self.org.name)
        self._dpop = True
        self._executor = None
        return True

    async def _request(self, executor: "RequestExecutor", query: str) -> dict[str, object] | None:
        """Build the request with the SDK, which first gets an access token if needed. Return None if that fails."""
        client = executor._http_client  # noqa: SLF001 -- the SDK has no accessor for it
        client.token_answer = None
        for attempt in range(MAX_RATE_LIMITED):
            try:
                # The SDK doesn't rewrite an absolute URL that starts with the org's URL.
                built, _ = await executor.create_request("GET", f"{self.org.url}{query}")
            except Exception:  # noqa: BLE001 -- the SDK fails on unusual answers, and the traceback has the token
                built = None
            if built is not None:
                request: dict[str, object] = built
                return request
            answer = client.token_answer
            if (
                answer is None
                or answer.status != HTTPStatus.TOO_MANY_REQUESTS
                or attempt + 1 == MAX_RATE_LIMITED
            ):
                break
            await self.budget.wait_out(answer.response.headers, attempt)
        return None

    async def _connected(self) -> "RequestExecutor":
        app = self.org.app
        key_expired = self._dpop and self._clock() - self._executor_made_at > _KEY_LIFETIME_S
        if self._executor is None or key_expired:
            session = self._shared_session
            if session is None:
                session = self._own_session = self._own_session or open_session(None)
            make = partial(make_executor, self.org, session, timeout=self._timeout, dpop=self._dpop)
            self._executor = make() if app is None else await in_thread(make)
            self._executor_made_at = self._clock()
        return self._executor

    async def _read(self, query: str, response: aiohttp.ClientResponse, body: str) -> Page:
        headers = response.headers
        token = self._access_token
        if not isinstance(body, PageBody):
            raise refusal(self.org, response.status, headers, body, access_token=token)
        if "html" in headers.get("Content-Type", "").lower():
            raise unreadable(self.org, headers, ValueError("a web page"), access_token=token)
        read = partial(
            Page.read,
            body.content,
            query=query,
            url=self.org.url,
            links=headers.getall("Link", []),
            date=headers.get("Date"),
        )
        try:
            if len(body.content) < _LARGE_PAGE_BYTES:
                return read()
            return await asyncio.get_running_loop().run_in_executor(_decoding, read)
        except ValueError as error:
            reason = error
        raise unreadable(self.org, headers, reason, access_token=token)

    @property
    def _access_token(self) -> str:
        """The access token of the service app, to mask in an answer that echoes it. Empty if there is none."""
        if self.org.app is None or self._executor is None:
            return ""
        return self._executor._oauth.get_current_token()[0] or ""  # noqa: SLF001 -- the SDK has no accessor for it


def _hung_up(error: Exception | None) -> bool:
    """Return whether the connection closed before an answer, as when the server closed an idle connection."""
    broken = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
    return broken and not isinstance(error, aiohttp.ClientConnectorError)


def _refuses_the_token(response: aiohttp.ClientResponse) -> bool:
    """Return whether an answer is 401, or 400 with WWW-Authenticate, as for an invalid DPoP proof (RFC 9449)."""
    return response.status == HTTPStatus.UNAUTHORIZED or (
        response.status == HTTPStatus.BAD_REQUEST and "WWW-Authenticate" in response.headers
    )
