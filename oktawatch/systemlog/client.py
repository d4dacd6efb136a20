"""Reads one org's System Log, a page at a time.

The caller decides what to ask and when; this asks it once, waits out the rate limit when Okta says so,
and gives a ``Page`` or raises a ``SystemLogError``, never anything else. A cancelled ``page`` ends at
once, in the middle of a request or of a wait.

Importing this module loads the Okta SDK (half a second, 65 MB): import it where a request will be made.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.answers import failure, refusal, unreadable, where
from oktawatch.systemlog.errors import RequestRefusedError
from oktawatch.systemlog.page import Page
from oktawatch.systemlog.queries import LOGS_PATH
from oktawatch.systemlog.ratelimit import pause_after
from oktawatch.systemlog.transport import PageBody, make_executor, open_session

if TYPE_CHECKING:
    import aiohttp
    from okta.request_executor import RequestExecutor

PATIENCE = 5
"""How many answers 429 in a row end a call: the caller has a deadline of its own."""
TIMEOUT = 45.0
"""Seconds for one request. Okta gives up on a query after 30."""


class LogClient:
    """Reads the System Log of one org. One request at a time: the caller awaits each page.

    ``session`` are connections shared with other clients (``open_session``); without it the client
    opens its own with the first request.
    """

    def __init__(
        self,
        org: OrgAccess,
        *,
        session: "aiohttp.ClientSession | None" = None,
        timeout: float = TIMEOUT,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Remember what to use; nothing is opened yet."""
        self.org = org
        self._shared = session
        self._own: aiohttp.ClientSession | None = None
        self._timeout = timeout
        self._sleep = sleep
        self._jitter = jitter
        self._executor: RequestExecutor | None = None

    async def page(self, query: str) -> Page:
        """Fetch the page at a path and query, such as ``Page.resume`` gives it."""
        attempt = 0
        while True:
            response, body = await self._ask(query)
            if response.status != HTTPStatus.TOO_MANY_REQUESTS or attempt + 1 == PATIENCE:
                return self._read(query, response, body)
            await self._sleep(pause_after(response.headers, attempt) + self._jitter())
            attempt += 1

    async def close(self) -> None:
        """Close the client's own connections; shared ones stay open."""
        self._executor = None
        if self._own is not None:
            await self._own.close()
            self._own = None

    async def _ask(self, query: str) -> "tuple[aiohttp.ClientResponse, str]":
        if not query.startswith(f"{LOGS_PATH}?"):
            raise RequestRefusedError(
                f"no query of the System Log ({where(self.org)}, {query[:80]!r}): nothing was sent"
            )
        executor = self._connected()
        # An absolute URL: the SDK takes one that holds the org's as it is, and we made this one.
        request, _ = await executor.create_request("GET", f"{self.org.url}{query}")
        _, response, body, error = await executor.fire_request(request)
        if response is None:
            raise failure(self.org, error, self._timeout)
        return response, body

    def _connected(self) -> "RequestExecutor":
        if self._executor is None:
            session = self._shared
            if session is None:
                session = self._own = open_session()
            self._executor = make_executor(self.org, session, timeout=self._timeout)
        return self._executor

    def _read(self, query: str, response: "aiohttp.ClientResponse", body: str) -> Page:
        headers = response.headers
        if not isinstance(body, PageBody):
            raise refusal(self.org, response.status, headers, body)
        if "html" in headers.get("Content-Type", "").lower():
            raise unreadable(self.org, headers, ValueError("a web page"))
        try:
            return Page.read(
                body.content,
                query=query,
                url=self.org.url,
                links=headers.getall("Link", []),
                date=headers.get("Date"),
            )
        except ValueError as error:
            reason = error
        raise unreadable(self.org, headers, reason)
