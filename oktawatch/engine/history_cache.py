"""The recent history of an org, cached in memory from page to page.

Rules look back from minutes to hours, and what one page needs, the next page needs too. So the buffers that
windowed rules look at are cached, complete for some time ranges, and grow with each page. Within a page's
transaction, under the org's row, they are either complete, which the history's version tells, or they are
read again: another process may have written, or our own transaction may have been rolled back.

The cache is bounded in bytes, the length of texts included, since strangers choose it. The bound is for the
process, not for an org, so that a few busy orgs among hundreds of quiet ones have room.
An org that finds no room is read page by page from the table, which is slower.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from operator import attrgetter
from threading import Lock
from types import MappingProxyType
from weakref import WeakSet

from oktawatch.detection.registry import RuleSet
from oktawatch.detection.window_buffers import WindowBuffers
from oktawatch.detection.windows import clusters
from oktawatch.model.history import Column, HistoryRow, SeenQuery, TimeRange, memory_of
from oktawatch.store.history import StoredHistory

MAX_BYTES = 150_000_000
"""Bytes of rows cached in a process: 100,000 rows of an ordinary org."""

_EVICT_ABOVE = 3_000_000
"""Bytes of one org's rows from which on evicting old ones is worth the time."""

_MAX_RANGES = 8
"""Separate time ranges of one org. A page whose events are all over the calendar is read from the table."""

_MAX_SEEN = 2_000
"""Keys of which the newest event is cached: the actors that come through a proxy in a week."""

_LONGEST_SEEN = 100
"""Characters of a key that is cached so. For longer keys the database is queried each time."""

_UNCOMMITTED = "uncommitted"
"""The version while the buffers have rows that the database has not: no history has it."""

_Question = tuple[Hashable, ...]
"""What queries about earlier events have in common: column, event types and conditions."""


class CacheLimit:
    """The number of bytes that several caches may hold together."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._caches: WeakSet[HistoryCache] = WeakSet()

    def register(self, cache: "HistoryCache") -> None:
        """Count the bytes of a cache for as long as it lives."""
        with self._lock:
            self._caches.add(cache)

    def free(self) -> int:
        """Return how many more bytes may be cached."""
        with self._lock:
            return self._max_bytes - sum(cache.size_bytes for cache in self._caches)


PROCESS_LIMIT = CacheLimit()
"""Shared by all orgs of this process."""


class HistoryCache:
    """The cache of one org. Used by one transaction at a time: the one that holds the org's row."""

    def __init__(self, limit: CacheLimit = PROCESS_LIMIT, *, evict_above: int = _EVICT_ABOVE) -> None:
        self.size_bytes = 0
        """An upper bound of what is cached: a batch counts whole until its newest row is evicted."""
        self._limit = limit
        self._rules = RuleSet([])
        self._buffers: dict[str, WindowBuffers] = {}
        self._complete: list[tuple[str, str]] = []
        """Disjoint time ranges of which every row is cached."""
        self._batches: list[tuple[str, int]] = []
        """The newest time and the size in bytes of each batch that was added."""
        self._needed_since = ""
        self._evict_above = self._min_evict_above = evict_above
        self._version: str | None = None
        self._newest: dict[_Question, dict[str, SeenQuery]] = {}
        """An event of each key that history has, by question."""
        limit.register(self)

    def within(
        self, stored: StoredHistory, version: str | None, rules: RuleSet, rows: Sequence[HistoryRow]
    ) -> "CurrentHistory":
        """Return the org's history within the transaction of a page with these rows, at this version."""
        if rules is not self._rules:
            self._rules = rules
            self._clear()
        return CurrentHistory(self, stored, version, rows)

    def validate(self, version: str | None) -> None:
        """Clear the cache unless history is still at the version that the cache has."""
        if version != self._version:
            self._clear()
            self._version = version

    def load(self, stored: StoredHistory, rows: Sequence[HistoryRow]) -> bool:
        """Read what a page needs and the cache lacks; return whether there is room for it and for the page.

        Rules then insert the page's rows, which the database has only after ``commit``.
        """
        needed = [(since, until) for since, until, _ in clusters(rows, self._rules.longest_look)]
        self._needed_since = needed[0][0]
        self._version = _UNCOMMITTED
        if len(needed) <= _MAX_RANGES:
            if self._read(stored, needed, rows):
                return True
            self._evict()
            if self._read(stored, needed, rows):
                return True
        self._clear()
        return False

    def buffers(self, rule_id: str) -> WindowBuffers:
        """Return the buffers of a rule."""
        return self._buffers[rule_id]

    def has_earlier(self, question: _Question, query: SeenQuery) -> bool:
        """Return whether the cache has an earlier event of the query's key. False: ask the database."""
        known = self._newest.get(question, _NONE).get(query.value)
        return (
            known is not None
            and query.since <= known.published <= query.published
            and (known.published, known.uuid) != (query.published, query.uuid)
        )

    def remember(self, question: _Question, queries: Iterable[SeenQuery]) -> None:
        """Cache the newest of these events, which the database has, for each key."""
        newest = self._newest.setdefault(question, {})
        for query in queries:
            if len(query.value) > _LONGEST_SEEN:
                continue
            known = newest.get(query.value)
            if known is None or known.published <= query.published:
                newest[query.value] = query
        if len(newest) > _MAX_SEEN:
            newest.clear()

    def commit(self, rows: Sequence[HistoryRow], version: str | None) -> None:
        """Record that the database has a page's rows too, and which version its history has now."""
        self._version = version
        for row in rows:
            row.event = None
        if self.size_bytes > self._evict_above or len(self._complete) > _MAX_RANGES:
            self._evict()
            self._evict_above = max(self._min_evict_above, 4 * self.size_bytes)

    def _read(
        self, stored: StoredHistory, needed: Sequence[tuple[str, str]], rows: Sequence[HistoryRow]
    ) -> bool:
        page_bytes = memory_of(rows)
        for since, until in self._gaps(needed):
            found = stored.between(since, until, max_bytes=self._limit.free() - page_bytes)
            if found is None:
                return False
            self._count(found, memory_of(found))
            for rule in self._rules.windowed if found else ():
                # What a rule raises here was reported when the event arrived.
                self.buffers(rule.id).insert(rule.keyed(found, lambda *_: None))
            self._complete = _merged([*self._complete, (since, until)])
        if page_bytes > self._limit.free():
            return False
        self._count(rows, page_bytes)
        return True

    def _count(self, rows: Sequence[HistoryRow], size: int) -> None:
        if rows:
            self._batches.append((max(map(attrgetter("published"), rows)), size))
            self.size_bytes += size

    def _gaps(self, needed: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the parts of these time ranges that are not cached."""
        gaps = []
        for since, until in needed:
            reached = since
            for first, last in self._complete:
                if first <= until and last >= reached:
                    if first > reached:
                        gaps.append((reached, first))
                    reached = last
            if reached < until or reached == since == until:
                gaps.append((reached, until))
        return gaps

    def _evict(self) -> None:
        """Delete everything before the time that the last page needed."""
        since = self._needed_since
        self._complete = [(max(first, since), last) for first, last in self._complete if last >= since]
        for buffers in self._buffers.values():
            buffers.delete_before(since)
        self._batches = [batch for batch in self._batches if batch[0] >= since]
        self.size_bytes = sum(size for _, size in self._batches)

    def _clear(self) -> None:
        self._buffers = {rule.id: WindowBuffers() for rule in self._rules.windowed}
        self._complete = []
        self._batches = []
        self._newest = {}
        self.size_bytes = 0


_NONE: Mapping[str, SeenQuery] = MappingProxyType({})


class CurrentHistory:
    """The history of one org within one page's transaction: the cache, and the database for the rest."""

    def __init__(
        self, cache: HistoryCache, stored: StoredHistory, version: str | None, rows: Sequence[HistoryRow]
    ) -> None:
        self._cache = cache
        self._stored = stored
        self._version = version
        self._rows = rows
        self._is_validated = False
        self._is_loaded: bool | None = None
        self._asked: list[tuple[_Question, Sequence[SeenQuery]]] = []

    def buffers(self, rule_id: str) -> WindowBuffers | None:
        """See ``History``."""
        if self._is_loaded is None:
            self._validate()
            self._is_loaded = self._cache.load(self._stored, self._rows)
        return self._cache.buffers(rule_id) if self._is_loaded else None

    def rows(self, column: Column, ranges: Sequence[TimeRange]) -> list[HistoryRow]:
        """See ``History``."""
        return self._stored.rows(column, ranges)

    def seen(
        self,
        column: Column,
        queries: Sequence[SeenQuery],
        *,
        event_types: Sequence[str],
        conditions: Mapping[str, str | bool],
        any_true: Sequence[str] = (),
    ) -> list[bool]:
        """See ``History``. Most keys that come again do so soon: for these the cache has the answer."""
        self._validate()
        question = (column, *event_types, *conditions.items(), *any_true)
        self._asked.append((question, queries))
        unknown = [query for query in queries if not self._cache.has_earlier(question, query)]
        if not unknown:
            return [True] * len(queries)
        found = self._stored.seen(
            column, unknown, event_types=event_types, conditions=conditions, any_true=any_true
        )
        unseen = {query for query, seen in zip(unknown, found, strict=True) if not seen}
        return [query not in unseen for query in queries]

    def began(self, event_types: Sequence[str]) -> str | None:
        """See ``History``."""
        return self._stored.began(event_types)

    def commit(self, version: str | None) -> None:
        """Record that the page's rows have been added, and which version history has now."""
        if self._rows:
            self._validate()
            self._cache.commit(self._rows, version)
            for question, queries in self._asked:
                self._cache.remember(question, queries)

    def _validate(self) -> None:
        if not self._is_validated:
            self._is_validated = True
            self._cache.validate(self._version)


def _merged(ranges: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Merge the time ranges that touch."""
    merged: list[tuple[str, str]] = []
    for since, until in sorted(ranges):
        if merged and since <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], until))
        else:
            merged.append((since, until))
    return merged
