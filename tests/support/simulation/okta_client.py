"""A client that sends the daemon's requests to the simulated Okta."""

import asyncio
from collections.abc import Callable

from oktawatch.systemlog.errors import (
    BrokenTransferError,
    PermissionMissingError,
    RateLimitedError,
    RequestRefusedError,
    SystemLogError,
    TimedOutError,
    TokenRefusedError,
    UnavailableError,
)
from oktawatch.systemlog.page import Page
from oktawatch.systemlog.priority import Priority
from tests.support.simulation.okta import URL, OktaModel, Refusal

_ERRORS: dict[str, Callable[[], SystemLogError]] = {
    "token refused": lambda: TokenRefusedError("refused", status=401),
    "permission missing": lambda: PermissionMissingError("missing", status=403),
    "rate limited": lambda: RateLimitedError("again and again", status=429),
    "unavailable": lambda: UnavailableError("down", status=503),
    "unreachable": lambda: UnavailableError("no route"),
    "broken transfer": lambda: BrokenTransferError("cut short"),
}
TROUBLES = (*_ERRORS, "times out", "repeats", "links to itself", "no links")
"""The failures that the simulated Okta can have."""


class Client:
    """Replaces `LogClient`: sends requests to the model, and parses its answers in the same way."""

    def __init__(self, okta: OktaModel) -> None:
        self._okta = okta

    async def page(self, query: str, priority: Priority = Priority.POLL) -> Page:
        """Return the page for a query."""
        await asyncio.sleep(0.2)
        trouble = self._okta.trouble
        if trouble == "times out":
            await asyncio.sleep(45)
            raise TimedOutError("no answer")
        if trouble in _ERRORS:
            error = _ERRORS[trouble]()
            raise error
        try:
            answer = self._okta.answer(query)
        except Refusal as refusal:
            raise RequestRefusedError("refused", status=refusal.status, date=refusal.date) from None
        try:
            return Page.read(answer.body, query=query, url=URL, links=answer.links, date=answer.date)
        except ValueError as error:
            raise BrokenTransferError(str(error)) from error
