"""The interface through which the engine reads an org's pages."""

from typing import Protocol

from oktawatch.systemlog.page import Page


class PageSource(Protocol):
    """Reads an org's pages: `systemlog.client.LogClient`, or a recording in a test."""

    async def page(self, query: str) -> Page:
        """Fetch the page at a path and query. Raises SystemLogError."""
