"""Where pages come from."""

from typing import Protocol

from oktawatch.systemlog.page import Page


class PageSource(Protocol):
    """Gives an org's pages. `systemlog.client.LogClient` is one; so is a recording."""

    async def page(self, query: str) -> Page:
        """Fetch the page at a path and query; raise SystemLogError."""
