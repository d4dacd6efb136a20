"""Reads one org's System Log, a page at a time.

The caller decides what to ask. The client waits for its turn under the org's rate limit, asks, asks again when
Okta says 429, and renews a service app's access token. It returns a ``Page`` or raises a ``SystemLogError``, never
anything else. A cancelled ``page`` ends at once, in the middle of a request or of a wait.

A large page is decoded in a thread, so that one org's pages don't delay the requests of the others.

Importing this module loads the Okta SDK (half a second, 65 MB): import it where a request will be made.
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
from oktawatch.systemlog.priority import PagesAt, Priority
from oktawatch.systemlog.queries import LOGS_PATH
from oktawatch.systemlog.signing import in_thread
from oktawatch.systemlog.transport import PageBody, make_executor, open_session

if TYPE_CHECKING:
    from okta.request_executor import RequestExecutor

_log: Any = structlog.get_logger(__name__)

PATIENCE = 5
"""How many answers 429 in a row end a call: the caller has a deadline of its own."""
TIMEOUT = 45.0
"""Seconds for one request. Okta gives up on a query after 30."""

_LARGE = 256 * 1024  # bytes: a thread costs more than decoding less
_decoding = ThreadPoolExecutor(max_workers=2, thread_name_prefix="oktawatch-decoding")

_KEY_LIFETIME = 24 * 3600.0  # seconds: the SDK means DPoP keys to be changed each day, and never does


class LogClient:
    """Reads the System Log of one org.

    ``session`` are connections shared with other clients (``open_session``); without it the client
    opens its own with the first request. ``budget`` is the org's, shared by everything in the process that
    reads it.
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
        """``clock`` gives seconds and only goes on. Nothing is opened yet."""
        self.org = org
        self.budget = budget or RateBudget()
        self._shared = session
        self._own: aiohttp.ClientSession | None = None
        self._timeout = timeout
        self._clock = clock
        self._executor: RequestExecutor | None = None
        self._made_at = 0.0
        self._dpop = org.app is not None and bool(org.app.dpop)
        """Access tokens are bound to a key: as configured, or since Okta required it."""

    async def page(self, query: str, priority: Priority = Priority.POLL) -> Page:
        """Fetch the page at a path and query, such as ``Page.resume`` gives it."""
        if not query.startswith(f"{LOGS_PATH}?"):
            raise RequestRefusedError(
                f"no query of the System Log ({where(self.org)}, {query[:80]!r}): nothing was sent"
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
            elif response.status == HTTPStatus.TOO_MANY_REQUESTS and limited + 1 < PATIENCE:
                limited += 1
            elif self.org.app is not None and _refuses_the_token(response) and not renewed:
                await self._forget_the_token()
                renewed = True
            else:
                return await self._read(query, response, body)

    def at(self, priority: Priority) -> PagesAt:
        """Give the same client for who has another priority."""
        return PagesAt(self, priority)

    async def close(self) -> None:
        """Close the client's own connections; shared ones stay open."""
        self._executor = None
        if self._own is not None:
            await self._own.close()
            self._own = None

    async def _ask(self, query: str) -> tuple[aiohttp.ClientResponse | None, str, Exception | None]:
        """Send one request; give the answer, or the error instead."""
        executor = await self._connected()
        request = await self._request(executor, query)
        if request is None and self._switches_to_dpop(executor):
            executor = await self._connected()
            request = await self._request(executor, query)
        if request is None:
            answer = executor._http_client.token_answer  # noqa: SLF001 -- ours, which the SDK keeps
            raise token_refusal(self.org, answer, self._timeout)
        _, response, body, error = await executor.fire_request(request)
        if response is not None:
            self.budget.answered(response.status, response.headers)
        return response, body, error

    async def _forget_the_token(self) -> None:
        """Have the next request ask for an access token: this one may just have ended, or was taken back."""
        executor = await self._connected()
        executor._oauth.clear_access_token()  # noqa: SLF001 -- the SDK has no other way

    def _switches_to_dpop(self, executor: "RequestExecutor") -> bool:
        """Bind access tokens to a key from now on if Okta requires it and nobody forbids it."""
        app = self.org.app
        undecided = app is not None and app.dpop is None and not self._dpop
        if not undecided or not requires_dpop(executor._http_client.token_answer):  # noqa: SLF001 -- as below
            return False
        _log.info("dpop_required", org=self.org.name)
        self._dpop = True
        self._executor = None
        return True

    async def _request(self, executor: "RequestExecutor", query: str) -> dict[str, object] | None:
        """Have the SDK build the request, with an access token where one is due; None if there is no token."""
        client = executor._http_client  # noqa: SLF001 -- ours, which the SDK keeps
        client.token_answer = None
        for attempt in range(PATIENCE):
            try:
                # An absolute URL: the SDK takes one that holds the org's as it is, and we made this one.
                made, _ = await executor.create_request("GET", f"{self.org.url}{query}")
            except Exception:  # noqa: BLE001 -- it trips over odd answers, and its frames hold the token
                made = None
            if made is not None:
                request: dict[str, object] = made
                return request
            answer = client.token_answer
            if answer is None or answer.status != HTTPStatus.TOO_MANY_REQUESTS or attempt + 1 == PATIENCE:
                break
            await self.budget.wait_out(answer.response.headers, attempt)
        return None

    async def _connected(self) -> "RequestExecutor":
        app = self.org.app
        old = self._dpop and self._clock() - self._made_at > _KEY_LIFETIME
        if self._executor is None or old:
            session = self._shared
            if session is None:
                session = self._own = self._own or open_session(None)
            make = partial(make_executor, self.org, session, timeout=self._timeout, dpop=self._dpop)
            self._executor = make() if app is None else await in_thread(make)
            self._made_at = self._clock()
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
            if len(body.content) < _LARGE:
                return read()
            return await asyncio.get_running_loop().run_in_executor(_decoding, read)
        except ValueError as error:
            reason = error
        raise unreadable(self.org, headers, reason, access_token=token)

    @property
    def _access_token(self) -> str:
        """The service app's, which a server may echo."""
        if self.org.app is None or self._executor is None:
            return ""
        return self._executor._oauth.get_current_token()[0] or ""  # noqa: SLF001 -- as above


def _hung_up(error: Exception | None) -> bool:
    """Tell a connection that broke without an answer: it may have been kept open for longer than the server did."""
    broken = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
    return broken and not isinstance(error, aiohttp.ClientConnectorError)


def _refuses_the_token(response: aiohttp.ClientResponse) -> bool:
    """Tell 401, and the 400 of a DPoP proof that proves nothing (RFC 9449)."""
    return response.status == HTTPStatus.UNAUTHORIZED or (
        response.status == HTTPStatus.BAD_REQUEST and "WWW-Authenticate" in response.headers
    )
