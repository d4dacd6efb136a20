"""The time that users' rules may take on one page.

Rules run within the page's transaction, so the page of a slow rule would keep the org's row, and Postgres
ends a transaction that says nothing for 15 s: the page would be read again for ever. So a rule that takes
too long is left out for the rest of its page, and the page commits.

Time is looked at between two calls. A call that never returns is the watchdog's business
(``engine.rule_watchdog``); what it has found is left out here from the start.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from oktawatch.detection.rule_guard import RuleLeftOutError
from oktawatch.engine.rule_watchdog import RuleWatchdog
from oktawatch.model.event import Event
from oktawatch.model.left_out import Frozen, LeftOut

RULE_LIMIT_S = 2.0
"""Seconds a page that one rule may take."""
PAGE_LIMIT_S = 4.0
"""Seconds a page that all users' rules together may take. With one more call, far less than Postgres' 15 s."""
_REPEATEDLY = 3
_LATELY = timedelta(days=1)


class RuleBudget:
    """The budget of one page. Used by one thread."""

    def __init__(
        self,
        org: str,
        events: Sequence[Event],
        frozen: Sequence[Frozen],
        watchdog: RuleWatchdog | None,
        *,
        now: datetime,
    ) -> None:
        """``frozen``: calls on this org's events that never returned."""
        self.left_out: dict[str, LeftOut] = {}
        """Why rules are left out, by their ids."""
        self._org = org
        self._page = events[0].uuid if events else ""
        self._watchdog = watchdog
        self._spent: dict[str, float] = {}
        self._all_spent = 0.0
        self._running = False
        self._frozen = {(one.rule_id, one.event_uuid) for one in frozen}
        if frozen:
            self._leave_out_frozen(frozen, {event.uuid for event in events}, now)

    def run(self, rule_id: str, event_uuid: str, method: Callable[[Any], Any], argument: Any) -> Any:
        """See ``detection.rule_guard.Budget``."""
        if rule_id in self.left_out or (rule_id, event_uuid) in self._frozen:
            raise RuleLeftOutError(f"{rule_id} is left out")
        if self._running:  # a rule asks a signal's predicate, on its own account
            return method(argument)
        began = self._begin(rule_id, event_uuid)
        try:
            return method(argument)
        finally:
            self._end(rule_id, event_uuid, began)

    def _begin(self, rule_id: str, event_uuid: str) -> float:
        self._running = True
        if self._watchdog is not None:
            self._watchdog.begin(self._org, rule_id, event_uuid, self._page)
        return monotonic()

    def _end(self, rule_id: str, event_uuid: str, began: float) -> None:
        took = monotonic() - began
        if self._watchdog is not None:
            self._watchdog.end()
        self._running = False
        self._all_spent += took
        spent = self._spent[rule_id] = self._spent.get(rule_id, 0.0) + took
        if spent > RULE_LIMIT_S:
            self._leave_out(rule_id, event_uuid, f"it took more than {RULE_LIMIT_S:g} s on one page")
        elif self._all_spent > PAGE_LIMIT_S:
            reason = f"the rules of your own took more than {PAGE_LIMIT_S:g} s on one page together"
            self._leave_out(rule_id, event_uuid, reason)

    def _leave_out(self, rule_id: str, event_uuid: str, reason: str) -> None:
        self.left_out[rule_id] = LeftOut(rule_id=rule_id, event_uuid=event_uuid or self._page, reason=reason)

    def _leave_out_frozen(self, frozen: Sequence[Frozen], uuids: set[str], now: datetime) -> None:
        """Leave out what froze the process on an event of this page, and what does so again and again."""
        lately: dict[str, int] = {}
        for one in frozen:
            lately[one.rule_id] = lately.get(one.rule_id, 0) + (now - one.froze_at < _LATELY)
            if one.event_uuid in uuids or one.page_uuid in uuids:
                self._leave_out(one.rule_id, one.event_uuid, FROZE)
        for rule_id, count in lately.items():
            if count >= _REPEATEDLY and rule_id not in self.left_out:
                self._leave_out(rule_id, "", f"{FROZE} {count} times within a day")


FROZE = "it froze oktawatch"
