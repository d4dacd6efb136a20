"""The recent history of an org, cached in memory from page to page.

Rules look back minutes to hours, so consecutive pages need mostly the same rows. The buffers of windowed rules
are kept, and each page's rows are added. The history's version shows whether the buffers are still complete. If another
process has written, or this process's transaction was rolled back, the buffers are read again.

The cache is bounded in bytes. The length of texts counts, because attackers can choose it. The limit applies to the
process and not to each org, so that a few busy orgs among hundreds of quiet ones have room. An org that does not
fit is read from the table for each page, which is slower.
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
from oktawatch.model.person_past import Past, PastQuery
from oktawatch.store.history import StoredHistory

MAX_BYTES = 150_000_000
"""Maximum bytes of rows cached in a process: 100,000 rows of a typical org."""

_EVICT_ABOVE = 3_000_000
"""Bytes of an org's rows above which old rows are evicted. Below it, evicting isn't worth the time."""

_MAX_RANGES = 8
"""Maximum number of separate time ranges of an org. If a page needs more, its history is read from the table."""

_MAX_SEEN = 2_000
"""Maximum number of values for each `_Question`, such as actors that used a proxy. Above it, all of them are forgotten."""

_LONGEST_SEEN = 100
"""Maximum length of a cached value, in characters. For longer values, the database is queried each time."""

_UNCOMMITTED = "uncommitted"
"""The version while the buffers contain rows that are not in the database yet. No history has this version."""

_Question = tuple[Hashable, ...]
"""What the `SeenQuery` objects of one call have in common: column, event types and conditions."""


class CacheLimit:
    """The maximum total size of several caches, in bytes."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._caches: WeakSet[HistoryCache] = WeakSet()

    def register(self, cache: "HistoryCache") -> None:
        """Count the size of a cache until it is garbage-collected."""
        with self._lock:
            self._caches.add(cache)

    def free(self) -> int:
        """Return how many more bytes may be cached."""
        with self._lock:
            return self._max_bytes - sum(cache.size_bytes for cache in self._caches)


PROCESS_LIMIT = CacheLimit()
"""Shared by all orgs of this process."""


class HistoryCache:
    """The cache of one org. Only the transaction that has locked the org's row may use it."""

    def __init__(self, limit: CacheLimit = PROCESS_LIMIT, *, evict_above: int = _EVICT_ABOVE) -> None:
        self.size_bytes = 0
        """An upper bound of the size of the cached rows: a batch counts in full until its newest row is evicted."""
        self._limit = limit
        self._rules = RuleSet([])
        self._buffers: dict[str, WindowBuffers] = {}
        self._complete: list[tuple[str, str]] = []
        """Disjoint time ranges that are cached completely."""
        self._batches: list[tuple[str, int]] = []
        """The newest time and the size in bytes of each batch that was added."""
        self._needed_since = ""
        """The start of the earliest time range that the last page needed."""
        self._evict_above = self._min_evict_above = evict_above
        self._version: str | None = None
        self._newest: dict[_Question, dict[str, SeenQuery]] = {}
        """The newest known stored event of each value, by question and value."""
        limit.register(self)

    def within(
        self, stored: StoredHistory, version: str | None, rules: RuleSet, rows: Sequence[HistoryRow]
    ) -> "CurrentHistory":
        """Return the org's history at this version, for the transaction of a page with these rows."""
        if rules is not self._rules:
            self._rules = rules
            self._clear()
        return CurrentHistory(self, stored, version, rows)

    def validate(self, version: str | None) -> None:
        """Clear the cache if history has another version than the cache."""
        if version != self._version:
            self._clear()
            self._version = version

    def load(self, stored: StoredHistory, rows: Sequence[HistoryRow]) -> bool:
        """Read the rows that a page needs and the cache lacks.

        If they and the page's rows do not fit, clear the cache and return False.
        """
        needed = [(since, until) for since, until, _ in clusters(rows, self._rules.longest_buffered_window)]
        self._needed_since = needed[0][0]
        self._version = _UNCOMMITTED  # until ``commit``, because the rules insert the page's rows next
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
        """Return whether the cache has an event that the query looks for. If False, query the database."""
        known = self._newest.get(question, _NONE).get(query.value)
        return (
            known is not None
            and query.since <= known.published <= query.published
            and (known.published, known.uuid) != (query.published, query.uuid)
        )

    def remember(self, question: _Question, queries: Iterable[SeenQuery]) -> None:
        """Cache the later event of each query if it is the newest of its value. The event must be in the database."""
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
        """Record that a page's rows are in the database, and the resulting version of the org's history."""
        self._version = version
        for row in rows:
            row.event = row.anonymizer = None
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
                # Ignore a rule's errors: they were logged when the event arrived.
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
        """Delete the rows before the time range that the last page needed."""
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
        """See ``History``. The cache answers for values that were seen recently, which are most."""
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

    def pasts(self, queries: Sequence[PastQuery]) -> list[Past]:
        """See ``History``."""
        return self._stored.pasts(queries)

    def began(self, event_types: Sequence[str]) -> str | None:
        """See ``History``."""
        return self._stored.began(event_types)

    def commit(self, version: str | None) -> None:
        """Record that the page's rows are in the database, and the resulting version of the org's history."""
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
