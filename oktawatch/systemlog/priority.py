"""Who goes first when several read the same org."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from oktawatch.systemlog.page import Page


class Priority(IntEnum):
    """From the first to the last."""

    POLL = 0
    SWEEP = 1
    BACKFILL = 2


class OrgPages(Protocol):
    """An org's pages, asked for with a priority."""

    async def page(self, query: str, priority: Priority = Priority.POLL) -> Page:
        """Fetch the page at a path and query; raise SystemLogError."""


@dataclass(frozen=True)
class PagesAt:
    """The pages of an org for one who always has the same priority."""

    source: OrgPages
    priority: Priority

    async def page(self, query: str) -> Page:
        """Fetch the page at a path and query; raise SystemLogError."""
        return await self.source.page(query, self.priority)
