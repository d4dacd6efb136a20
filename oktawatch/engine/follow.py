"""Detect links that lead in circles or end too early.

A proxy can repeat a page under new links forever, or remove the links. Both would leave events unread without an error,
so both are errors here.
"""

from datetime import datetime

from oktawatch.engine.page_source import PageSource
from oktawatch.systemlog.errors import BrokenTransferError
from oktawatch.systemlog.page import Page
from oktawatch.systemlog.queries import LARGEST_LIMIT, bounded_query, named_limit

_MAX_IDLE_PAGES = 5
"""This many consecutive pages without new elements are an error. Fewer are not: Okta can send empty pages, and a restart
reads pages again."""


class NoProgressError(BrokenTransferError):
    """Consecutive pages have no new elements, although each links to a next page."""

    reason = "no_progress"


class MissingPagesError(BrokenTransferError):
    """There are more events, but no link to them."""


class ProgressGuard:
    """Detects links that lead in circles. Keeps a hash of each page."""

    def __init__(self, org: str) -> None:
        self._org = org
        self._seen: set[int] = set()
        self._idle = 0

    def check(self, page: Page) -> None:
        """Raise NoProgressError if too many pages in a row, including this one, are empty or were read before."""
        if self.is_new(page):
            self._seen.add(hash(_elements(page)))
            self._idle = 0
            return
        self._idle += 1
        if self._idle >= _MAX_IDLE_PAGES:
            raise NoProgressError(
                f"the last pages have no new events, although each links to a next page ({self._org}): "
                "check whether a proxy caches or repeats responses"
            )

    def is_new(self, page: Page) -> bool:
        """Return whether a page has elements and was not read before."""
        elements = _elements(page)
        return bool(elements) and hash(elements) not in self._seen

    def clear(self) -> None:
        """Forget the pages, because another stream begins or the current stream has caught up."""
        self._seen.clear()
        self._idle = 0


def is_full(page: Page, page_size: int) -> bool:
    """Return whether a page has as many elements as requested."""
    return page.count >= (named_limit(page.query) or page_size)


def missing_next(org: str, page: Page) -> MissingPagesError:
    """Build the error for a page that has no next link, although it is not the last page."""
    why = page.link_error or "the response has no link to a next page"
    return MissingPagesError(
        f"can't read further ({org}, {why}): the page's events are stored, and the page is requested again; "
        "check the org's url, and whether a proxy removes or rewrites Link headers"
    )


class BoundedRead:
    """Checks the pages of a bounded read, which ends with a page without a next link."""

    def __init__(
        self,
        source: PageSource,
        org: str,
        *,
        filter: str,  # noqa: A002 -- Okta's own name
        since: datetime,
        until: datetime,
        page_size: int,
    ) -> None:
        self._source = source
        self._org = org
        self._filter = filter
        self._until = until
        self._page_size = page_size
        self._guard = ProgressGuard(org)
        self._newest = since
        """The newest event time of the last page with usable events, or ``since`` before the first such page."""
        self._tail: list[Page] = []
        """The last page with usable events, and all pages after it."""

    async def check(self, page: Page) -> MissingPagesError | None:
        """Return the error to raise after the page is committed; None if the page has a next link or is the last one.

        Raises SystemLogError, such as NoProgressError for a page that should not be committed.
        """
        self._guard.check(page)
        if page.newest is not None:
            self._newest, self._tail = page.newest, []
        self._tail.append(page)
        if page.next is not None:
            return None
        suspicious = page.link_error or not page.linked or is_full(page, self._page_size)
        if not suspicious or (page.link_error is None and await self._is_complete()):
            return None
        return missing_next(self._org, page)

    async def _is_complete(self) -> bool:
        """Request the events since the newest one, and return whether all of them were read."""
        if self._newest >= self._until:
            return True
        query = bounded_query(since=self._newest, until=self._until, filter=self._filter, limit=LARGEST_LIMIT)
        rest = await self._source.page(query)
        complete = rest.next is None and rest.link_error is None and rest.count < LARGEST_LIMIT
        return complete and _elements(rest) <= frozenset().union(*map(_elements, self._tail))


def _elements(page: Page) -> frozenset[str]:
    """Return the identities of a page's elements."""
    uuids = (event.uuid for event in page.events)
    fingerprints = (rejected.fingerprint for rejected in page.rejected)
    return frozenset([*uuids, *fingerprints])
