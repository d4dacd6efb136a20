"""A request to the org, and Okta's answer to it when no fault is injected."""

import email.utils
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC

from aiohttp import web
from isal import igzip

from . import errors, query
from .auth import authorize
from .dpop import Proof
from .hangs import HangingRequests
from .oauth import TOKEN
from .org import Org, Page
from .query import LOGS, Query
from .ratelimit import Budget
from .times import to_ms

Reader = Callable[[Org, Query], Page]
"""Returns the page that answers a query."""


@dataclass(frozen=True)
class Exchange:
    """A request, its org, and whether the request is within the rate limit."""

    org: Org
    request: web.Request
    budget: Budget
    within_limit: bool
    hangs: HangingRequests

    async def answer(self, read: Reader = Org.page) -> web.Response:
        """Return Okta's answer. `read` returns the page for a System Log request."""
        try:
            return self.add_okta_headers(await self._respond(read))
        except errors.OktaError as error:
            return self.refuse(error)

    def refuse(self, error: errors.OktaError) -> web.Response:
        """Return the answer to a refused request."""
        response = web.Response(status=error.status, body=error.body(), content_type="application/json")
        response.headers.update(error.headers)
        return self.add_okta_headers(response)

    def add_okta_headers(self, response: web.Response) -> web.Response:
        """Add the headers of every Okta answer: the org's time, a request id, the rate limit."""
        response.headers.update(self.budget.headers())
        response.headers["Date"] = email.utils.format_datetime(self.org.now().astimezone(UTC), usegmt=True)
        response.headers["X-Okta-Request-Id"] = secrets.token_hex(16)
        response.headers["Cache-Control"] = "no-cache, no-store"
        return response

    async def _respond(self, read: Reader) -> web.Response:
        if self.request.path == TOKEN:
            return await self._token()
        if self.request.path == LOGS:
            return self._logs(read)
        raise errors.not_found(self.request.path)

    async def _token(self) -> web.Response:
        if not self.within_limit:
            raise errors.too_many_requests()
        if self.request.method != "POST":
            raise errors.not_allowed("POST")
        form = {name: value for name, value in (await self.request.post()).items() if isinstance(value, str)}
        issued = self.org.oauth.issue(form, self.proof)
        response = web.json_response(issued)
        if issued["token_type"] == "DPoP":  # noqa: S105 -- a type
            response.headers["dpop-nonce"] = self.org.oauth.proofs.nonce
        return response

    @property
    def proof(self) -> Proof:
        """The request's DPoP proof, with the method and URL that the proof must match."""
        request = self.request
        url = f"{request.scheme}://{request.host}{request.path}"
        return Proof(request.headers.get("DPoP"), request.method, url)

    def _logs(self, read: Reader) -> web.Response:
        request = self.request
        authorize(self.org, request.headers.get("Authorization"), self.proof)
        if not self.within_limit:
            raise errors.too_many_requests()
        if request.method != "GET":
            raise errors.not_allowed("GET")
        now = to_ms(self.org.now())
        requested = query.read(request.query, now)
        if requested.place is not None and not self.org.cursors.accepts(requested, now):
            raise errors.invalid_paging()
        page = read(self.org, requested)
        if page.next is not None:
            self.org.cursors.issue(page.next, now)
        return _page(request, page)


def _page(request: web.Request, page: Page) -> web.Response:
    base = f"{request.scheme}://{request.host}"
    response = web.Response(content_type="application/json")
    response.headers.add("Link", f'<{base}{request.raw_path}>; rel="self"')
    if page.next is not None:
        response.headers.add("Link", f'<{base}{page.next.link(LOGS)}>; rel="next"')
    body = b"[" + b",".join(page.bodies) + b"]"
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
        body = igzip.compress(body, 1)
    response.body = body
    return response
