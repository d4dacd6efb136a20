"""The recent past of an org, kept from page to page.

Rules look back from half an hour to a few hours, and one page's neighbourhood is the next page's. So
what was read of the history, and what pages add to it, is kept: one stretch of time, whole. Within a
page's transaction, under the org's row, it is either all there is, which the history's version tells,
or it is read anew: another process may have written, or our own transaction may have been rolled back.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from oktawatch.detection.history import MemoryHistory
from oktawatch.model.history import Column, Earlier, HistoryRow, Stretch
from oktawatch.store.history import StoredHistory

MOST_ROWS = 30_000
"""Rows that one reading may bring, some two kilobytes each; twice as many are kept at most. An org with
more than that in its rules' windows is asked page by page from the table, which is slower."""


class RecentHistory:
    """What is kept of one org. Used by one transaction at a time: who holds the org's row."""

    def __init__(self, most_rows: int = MOST_ROWS) -> None:
        self._most_rows = most_rows
        self._rows = MemoryHistory()
        self._covered: tuple[str, str] | None = None
        self._version: str | None = None

    def within(self, stored: StoredHistory) -> "CurrentHistory":
        """Give the org's past within a transaction."""
        return CurrentHistory(self, stored)

    def take_up(self, version: str | None) -> None:
        """Keep what is kept if the history is still at the version that it was kept at."""
        if version != self._version:
            self._forget()
            self._version = version

    def covering(self, stored: StoredHistory, since: str, until: str) -> MemoryHistory | None:
        """Give a history that has all of a stretch of time; None when that is too much to keep."""
        if self._covered is None or until < self._covered[0] or since > self._covered[1]:
            self._forget()
            missing, covered = [(since, until)], (since, until)
        else:
            first, last = self._covered
            missing = [(since, first)] if since < first else []
            missing += [(last, until)] if until > last else []
            covered = (min(first, since), max(last, until))
        if not all(self._read(stored, start, end) for start, end in missing):
            self._forget()
            return None
        self._covered = covered
        return self._rows

    def add(self, rows: Sequence[HistoryRow], version: str | None, *, needed_since: str | None) -> None:
        """Take what a page adds; ``needed_since`` is where what it looked back at began."""
        self._version = version
        if self._covered is None:
            return
        self._rows.add(rows)
        if len(self._rows) > 2 * self._most_rows:
            since, until = self._covered
            kept_since = max(since, needed_since or until)
            self._covered = (kept_since, until)
            self._rows = self._rows.since(kept_since)

    def _read(self, stored: StoredHistory, since: str, until: str) -> bool:
        """Read a stretch; tell whether it could be read whole."""
        found = stored.between(since, until, limit=self._most_rows)
        if found is not None:
            self._rows.add(found)
        return found is not None

    def _forget(self) -> None:
        self._rows = MemoryHistory()
        self._covered = None


class CurrentHistory:
    """The past of one org within one transaction: what is kept, and the database for the rest."""

    def __init__(self, recent: RecentHistory, stored: StoredHistory) -> None:
        self._recent = recent
        self._stored = stored
        self._taken_up = False
        self._needed_since: str | None = None

    def rows(self, column: Column, stretches: Sequence[Stretch]) -> Iterator[HistoryRow]:
        """See ``History``."""
        self._take_up()
        far = []
        for stretch in stretches:
            kept = self._recent.covering(self._stored, stretch.since, stretch.until)
            if kept is None:
                far.append(stretch)
                continue
            self._needed_since = min(self._needed_since or stretch.since, stretch.since)
            yield from kept.rows(column, [stretch])
        if far:
            yield from self._stored.rows(column, far)

    def seen(
        self,
        column: Column,
        asked: Sequence[Earlier],
        *,
        event_types: Sequence[str],
        conditions: Mapping[str, str | bool],
    ) -> list[bool]:
        """See ``History``."""
        return self._stored.seen(column, asked, event_types=event_types, conditions=conditions)

    def began(self, event_types: Sequence[str]) -> str | None:
        """See ``History``."""
        return self._stored.began(event_types)

    def add(self, rows: Iterable[HistoryRow]) -> None:
        """Add a page's rows, in the database and to what is kept."""
        added = list(rows)
        if added:
            self._take_up()
            self._recent.add(added, self._stored.add(added), needed_since=self._needed_since)

    def _take_up(self) -> None:
        if not self._taken_up:
            self._taken_up = True
            self._recent.take_up(self._stored.version())
