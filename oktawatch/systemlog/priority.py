"""Priorities of requests to the same org."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from oktawatch.systemlog.page import Page


class Priority(IntEnum):
    """Priorities, the highest first."""

    POLL = 0
    SWEEP = 1
    BACKFILL = 2


class OrgPages(Protocol):
    """A source of pages with a priority for each request."""

    async def page(self, query: str, priority: Priority = Priority.POLL) -> Page:
        """Fetch the page at a path and query. Raises SystemLogError."""


@dataclass(frozen=True)
class PagesAt:
    """A source of pages with a fixed priority."""

    source: OrgPages
    priority: Priority

    async def page(self, query: str) -> Page:
        """Fetch the page at a path and query. Raises SystemLogError."""
        return await self.source.page(query, self.priority)
