"""Follow a stream's links, and notice those that lead nowhere or end too early.

A proxy in between may repeat a page under ever new links, or remove the links altogether. Either would leave
events unread, silently and for ever, so both are errors.
"""

from datetime import datetime

from oktawatch.engine.page_source import PageSource
from oktawatch.systemlog.errors import BrokenTransferError
from oktawatch.systemlog.page import Page
from oktawatch.systemlog.queries import LARGEST_LIMIT, bounded_query, named_limit

_MAX_IDLE_PAGES = 5
"""The most pages in a row without anything new. Okta may send some, and a restart reads some again."""


class NoProgressError(BrokenTransferError):
    """Page after page brings nothing new, although each names a next one."""

    reason = "no_progress"


class MissingPagesError(BrokenTransferError):
    """There are more events, and no link leads to them."""


class ProgressGuard:
    """Notices links that lead in circles. Keeps a hash of each page."""

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
                f"page after page brings nothing new, each with a link to a next one ({self._org}): "
                "see whether a proxy in between caches or repeats answers"
            )

    def is_new(self, page: Page) -> bool:
        """Return whether a page has elements and was not read before."""
        elements = _elements(page)
        return bool(elements) and hash(elements) not in self._seen

    def clear(self) -> None:
        """Forget what was read: another stream begins, or this one has caught up."""
        self._seen.clear()
        self._idle = 0


def is_full(page: Page, page_size: int) -> bool:
    """Return whether a page has as many elements as were asked for."""
    return page.count >= (named_limit(page.query) or page_size)


def missing_next(org: str, page: Page) -> MissingPagesError:
    """Build the error for a page without a next link that is not the last one."""
    why = page.link_error or "the answer has no link to a next page"
    return MissingPagesError(
        f"reading can't go on ({org}, {why}): the page's events are kept, and it is asked for again; "
        "check the org's url, and whether a proxy in between removes or rewrites Link headers"
    )


class BoundedRead:
    """Checks the pages of one bounded read, which ends with a page without a next link."""

    def __init__(
        self,
        source: PageSource,
        org: str,
        *,
        filter: str,  # noqa: A002 -- Okta's own name
        until: datetime,
        page_size: int,
    ) -> None:
        self._source = source
        self._org = org
        self._filter = filter
        self._until = until
        self._page_size = page_size
        self._guard = ProgressGuard(org)

    async def check(self, page: Page) -> MissingPagesError | None:
        """Return the error to raise once the page is committed; None if it has a next link or is the last one.

        Raises NoProgressError for a page that is not worth committing, and SystemLogError.
        """
        self._guard.check(page)
        if page.next is not None:
            return None
        suspicious = page.link_error or not page.linked or is_full(page, self._page_size)
        if not suspicious or (page.link_error is None and await self._is_last(page)):
            return None
        return missing_next(self._org, page)

    async def _is_last(self, page: Page) -> bool:
        """Ask for events from the page's end on, and return whether all of them are on that page."""
        if page.newest is None:
            return page.count == 0
        if page.newest >= self._until:
            return True
        query = bounded_query(since=page.newest, until=self._until, filter=self._filter, limit=LARGEST_LIMIT)
        rest = await self._source.page(query)
        complete = rest.next is None and rest.link_error is None and rest.count < LARGEST_LIMIT
        return complete and _elements(rest) <= _elements(page)


def _elements(page: Page) -> frozenset[str]:
    """Return the identities of a page's elements."""
    uuids, fingerprints = (event.uuid for event in page.events), (one.fingerprint for one in page.rejected)
    return frozenset([*uuids, *fingerprints])
