"""The recent past of an org, kept from page to page.

Rules look back from some minutes to a few hours, and one page's neighbourhood is the next page's. So the
timelines that windowed rules look at are kept, with whole stretches of time in them, and grow by what
pages bring. Within a page's transaction, under the org's row, they are either all there is, which the
history's version tells, or they are read anew: another process may have written, or our own transaction
may have been rolled back.

What may be kept is bounded for the process, not for an org: a few busy orgs among hundreds of quiet ones
have room. An org for which there is none is asked page by page from the table, which is slower.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from operator import attrgetter
from threading import Lock
from types import MappingProxyType
from weakref import WeakSet

from oktawatch.detection.registry import RuleSet
from oktawatch.detection.window_buffers import WindowBuffers
from oktawatch.detection.windows import spans
from oktawatch.model.history import Column, Earlier, HistoryRow, Stretch
from oktawatch.store.history import StoredHistory

MOST_ROWS = 100_000
"""Rows that are kept in a process, of 1.2 KB each in an ordinary org."""

_ORDINARY = 2_000
"""Rows of one org that are never worth tidying up."""

_STRETCHES = 8
"""Stretches of time that are kept apart: a page whose events lie all over the calendar is asked from the table."""

_MOST_SEEN = 2_000
"""Keys of a question whose newest event is kept: those who come through a proxy in a week."""

_AHEAD = "ahead of the database"

_Question = tuple[Hashable, ...]
"""What makes two questions about earlier events the same but for the events: column, types and conditions."""


class Room:
    """How many rows may be kept, by all who share it."""

    def __init__(self, most_rows: int = MOST_ROWS) -> None:
        self._most_rows = most_rows
        self._lock = Lock()
        self._sharing: WeakSet[HistoryCache] = WeakSet()

    def share(self, recent: "HistoryCache") -> None:
        """Count what is kept there from now on, as long as it lives."""
        with self._lock:
            self._sharing.add(recent)

    def left(self) -> int:
        """Give how many more may be kept."""
        with self._lock:
            return self._most_rows - sum(recent.kept for recent in self._sharing)


PROCESS = Room()
"""Shared by all orgs of this process."""


class HistoryCache:
    """What is kept of one org. Used by one transaction at a time: who holds the org's row."""

    def __init__(self, room: Room = PROCESS, *, ordinary: int = _ORDINARY) -> None:
        """``ordinary``: rows that are never worth tidying up."""
        self.kept = 0
        """Rows, at most: those of a page count until the newest of them is forgotten."""
        self._room = room
        self._rules = RuleSet([])
        self._window_buffers: dict[str, WindowBuffers] = {}
        self._covered: list[tuple[str, str]] = []
        """Stretches of time that are kept whole, apart from each other."""
        self._counted: list[tuple[str, int]] = []
        """The newest time and the number of rows of what was kept at once."""
        self._old: list[tuple[str, int]] = []
        """The same of what was there when it was last tidied up, the newest last."""
        self._needed_since = ""
        self._ordinary = self._tidy_above = ordinary
        self._version: str | None = None
        self._newest: dict[_Question, dict[str, Earlier]] = {}
        """An event of each key that is remembered, by what was asked about it."""
        room.share(self)

    def within(
        self, stored: StoredHistory, version: str | None, rules: RuleSet, rows: Sequence[HistoryRow]
    ) -> "CurrentHistory":
        """Give the org's past within the transaction of a page that has these rows, and finds it at a version."""
        if rules is not self._rules:
            self._rules = rules
            self._forget()
        return CurrentHistory(self, stored, version, rows)

    def take_up(self, version: str | None) -> None:
        """Keep what is kept if the history is still at the version that it was kept at."""
        if version != self._version:
            self._forget()
            self._version = version

    def prepare(self, stored: StoredHistory, rows: Sequence[HistoryRow]) -> bool:
        """Read what a page needs and is not kept; tell whether there is room for it and for the page.

        Rules add the page to the timelines, which are ahead of the database until ``add``.
        """
        needed = [(since, until) for since, until, _ in spans(rows, self._rules.longest_look)]
        self._needed_since = needed[0][0]
        self._version = _AHEAD
        if len(needed) <= _STRETCHES:
            if self._read(stored, needed, rows):
                return True
            self._tidy()
            self._tidy()  # of what came since it was last tidied up, too
            if self._read(stored, needed, rows):
                return True
        self._forget()
        return False

    def timelines(self, rule_id: str) -> WindowBuffers:
        """Give a rule's timelines."""
        return self._window_buffers[rule_id]

    def precedes(self, question: _Question, one: Earlier) -> bool:
        """Tell whether an event is kept that is earlier than the one that is asked about."""
        known = self._newest.get(question, _NONE).get(one.value)
        return (
            known is not None
            and one.since <= known.published <= one.published
            and (known.published, known.uuid) != (one.published, one.uuid)
        )

    def note(self, question: _Question, asked: Iterable[Earlier]) -> None:
        """Keep the newest of events that the database has."""
        newest = self._newest.setdefault(question, {})
        for one in asked:
            known = newest.get(one.value)
            if known is None or known.published <= one.published:
                newest[one.value] = one
        if len(newest) > _MOST_SEEN:
            newest.clear()

    def add(self, rows: Sequence[HistoryRow], version: str | None) -> None:
        """Note that the database has a page's rows too."""
        self._version = version
        for row in rows:
            row.event = None
        worth_it = self._ordinary if self._old_has_passed() else self._tidy_above
        if self.kept > worth_it or len(self._covered) > _STRETCHES:
            self._tidy()
            self._tidy_above = max(self._ordinary, 4 * self.kept)

    def _read(
        self, stored: StoredHistory, needed: Sequence[tuple[str, str]], rows: Sequence[HistoryRow]
    ) -> bool:
        more = len(rows)
        for since, until in self._gaps(needed):
            found = stored.between(since, until, limit=max(0, self._room.left() - more))
            if found is None:
                return False
            self._count(found)
            for rule in self._rules.windowed if found else ():
                # What a rule raised here was reported when the event came.
                self.timelines(rule.id).remember(rule.parts(found, lambda *_: None))
            self._covered = _joined([*self._covered, (since, until)])
        if more > self._room.left():
            return False
        self._count(rows)
        return True

    def _count(self, rows: Sequence[HistoryRow]) -> None:
        if rows:
            self._counted.append((max(map(attrgetter("published"), rows)), len(rows)))
            self.kept += len(rows)

    def _gaps(self, needed: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        gaps = []
        for since, until in needed:
            reached = since
            for first, last in self._covered:
                if first <= until and last >= reached:
                    if first > reached:
                        gaps.append((reached, first))
                    reached = last
            if reached < until or reached == since == until:
                gaps.append((reached, until))
        return gaps

    def _tidy(self) -> None:
        """Forget what lies before all that the last page needed, of what was kept when it was last tidied up."""
        since = self._needed_since
        all_old = self._old_has_passed()
        self._covered = [(max(first, since), last) for first, last in self._covered if last >= since]
        for timelines in self._window_buffers.values():
            timelines.forget_before(since, all_old=all_old)
        self._old = sorted([*(one for one in self._old if one[0] >= since), *self._counted])
        self._counted = []
        self.kept = sum(count for _, count in self._old)

    def _old_has_passed(self) -> bool:
        return not self._old or self._old[-1][0] < self._needed_since

    def _forget(self) -> None:
        self._window_buffers = {
            rule.id: WindowBuffers(rule.window, fewest=rule.fewest) for rule in self._rules.windowed
        }
        self._covered = []
        self._counted = []
        self._old = []
        self._newest = {}
        self.kept = 0


_NONE: Mapping[str, Earlier] = MappingProxyType({})


class CurrentHistory:
    """The past of one org within one page's transaction: what is kept, and the database for the rest."""

    def __init__(
        self, recent: HistoryCache, stored: StoredHistory, version: str | None, rows: Sequence[HistoryRow]
    ) -> None:
        self._recent = recent
        self._stored = stored
        self._version = version
        self._rows = rows
        self._taken_up = False
        self._kept: bool | None = None
        self._asked: list[tuple[_Question, Sequence[Earlier]]] = []

    def timelines(self, rule_id: str) -> WindowBuffers | None:
        """See ``History``."""
        if self._kept is None:
            self._take_up()
            self._kept = self._recent.prepare(self._stored, self._rows)
        return self._recent.timelines(rule_id) if self._kept else None

    def rows(self, column: Column, stretches: Sequence[Stretch]) -> list[HistoryRow]:
        """See ``History``."""
        return self._stored.rows(column, stretches)

    def seen(
        self,
        column: Column,
        asked: Sequence[Earlier],
        *,
        event_types: Sequence[str],
        conditions: Mapping[str, str | bool],
    ) -> list[bool]:
        """See ``History``. Most who come again do so soon: of these the database is not asked."""
        self._take_up()
        question = (column, *event_types, *conditions.items())
        self._asked.append((question, asked))
        open_ = [one for one in asked if not self._recent.precedes(question, one)]
        if not open_:
            return [True] * len(asked)
        found = self._stored.seen(column, open_, event_types=event_types, conditions=conditions)
        unseen = {one for one, seen in zip(open_, found, strict=True) if not seen}
        return [one not in unseen for one in asked]

    def began(self, event_types: Sequence[str]) -> str | None:
        """See ``History``."""
        return self._stored.began(event_types)

    def add(self, version: str | None) -> None:
        """Note that the page's rows have been added, and the version that history is at now."""
        if self._rows:
            self._take_up()
            self._recent.add(self._rows, version)
            for question, asked in self._asked:
                self._recent.note(question, asked)

    def _take_up(self) -> None:
        if not self._taken_up:
            self._taken_up = True
            self._recent.take_up(self._version)


def _joined(stretches: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Join stretches of time that touch."""
    joined: list[tuple[str, str]] = []
    for since, until in sorted(stretches):
        if joined and since <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], until))
        else:
            joined.append((since, until))
    return joined
