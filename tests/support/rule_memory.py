"""An org's history and matches in memory, for tests of one rule."""

from collections.abc import Sequence
from typing import Any

from oktawatch.detection.grouping import Grouping
from oktawatch.detection.history import MemoryHistory
from oktawatch.detection.registry import RuleSet
from oktawatch.detection.rule import Rule
from oktawatch.model.event import Event
from oktawatch.model.match import Match, MatchKey


class Memory:
    """An org's history and recorded matches, kept in memory from page to page."""

    def __init__(self, rule: Rule) -> None:
        self.rules = RuleSet([rule])
        self.history = MemoryHistory()
        self.recorded: dict[MatchKey, Match] = {}

    def page(self, bodies: Sequence[dict[str, Any]], *, committed: bool = True) -> None:
        """Evaluate a page, and store the result if the page is ``committed``."""
        events = [Event.from_body(body) for body in bodies]
        rows = self.rules.history_rows(events)
        found = self.rules.evaluate(events, rows, self.history, no_error).matches
        if committed:
            self.history.add(rows)
            for match in found:
                self.recorded.setdefault(match.key, match)

    def uuids(self) -> list[str]:
        """Return the recorded matches in the order of recording."""
        return [match.event_uuid for match in self.recorded.values()]

    def alerts(self) -> list[tuple[str, Any, int]]:
        """Group the recorded matches."""
        grouping = Grouping(self.rules.policies, recorded={}, alerts=[], notify=False)
        for match in self.recorded.values():
            grouping.add(match)
        return [(alert.dedup_key, alert.anchor, alert.event_count) for alert in grouping.opened]


def no_error(rule: Rule, uuid: str, error: Exception) -> None:
    """Fail: no rule must raise here."""
    raise AssertionError(f"{rule.id} raised at {uuid}") from error
