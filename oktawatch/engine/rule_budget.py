"""Limit the time that custom rules may take on a page.

Rules run within the page's transaction. A slow rule would keep the org's row locked, and Postgres ends a transaction
that is idle for 15 s: the page would be read again forever. So a rule that takes too long is left out for the
rest of its page, and the page is committed.

The time is checked after each call. A call that never returns is ended, with the process, by the watchdog
(``engine.rule_watchdog``), which records it. When the page is read again, the rule is left out of the whole page. Within
a day, three freezes on one org's events leave the rule out of this org's pages, and freezes on events of three orgs leave
it out of all pages. The last limit bounds how often a broken rule freezes a process that polls many orgs. Freezes
on one org alone don't affect other orgs. Otherwise a stranger, whose text is in an org's events, could turn a rule off.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from oktawatch.detection.rule_guard import RuleLeftOutError
from oktawatch.engine.rule_watchdog import RuleWatchdog
from oktawatch.model.event import Event
from oktawatch.model.left_out import Frozen, LeftOut

RULE_LIMIT_S = 2.0
"""Seconds that one rule may take on a page."""
PAGE_LIMIT_S = 4.0
"""Seconds that all custom rules together may take on a page.

After this time, no further call begins. The last call takes at most `CALL_LIMIT_S` (8 s) more. So the rules end before
Postgres ends the transaction, after 15 s."""
ALARM_INTERVAL = timedelta(hours=1)
"""Minimum time between two alarms about the same rule and org, because a rule can be left out of every page."""
_REPEATEDLY = 3
"""This many freezes on one org within `_RECENT` leave a rule out of this org's pages. Freezes on this many
orgs leave it out of all pages."""
_RECENT = timedelta(days=1)


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
        """``frozen`` are the recorded calls that never returned, on events of any org."""
        self.left_out: dict[str, LeftOut] = {}
        """The rules that are left out, by id."""
        self._org = org
        self._page_uuid = events[0].uuid if events else ""
        self._watchdog = watchdog
        self._spent: dict[str, float] = {}
        self._all_spent = 0.0
        self._running = False
        self._frozen = {(call.rule_id, call.event_uuid) for call in frozen if call.org == org}
        if frozen:
            self._leave_out_frozen(frozen, {event.uuid for event in events}, now)

    def run(self, rule_id: str, event_uuid: str, method: Callable[..., Any], *arguments: Any) -> Any:
        """See ``detection.rule_guard.Budget``."""
        if rule_id in self.left_out or (rule_id, event_uuid) in self._frozen:
            raise RuleLeftOutError(f"{rule_id} is left out")
        if self._running:  # a rule calls a signal's predicate, which counts as the rule's time
            return method(*arguments)
        if self._all_spent > PAGE_LIMIT_S:
            reason = f"your own rules together took more than {PAGE_LIMIT_S:g} s on one page"
            self._leave_out(rule_id, event_uuid, reason)
            raise RuleLeftOutError(f"{rule_id} is left out")
        began = self._begin(rule_id, event_uuid)
        try:
            return method(*arguments)
        finally:
            self._end(rule_id, event_uuid, began)

    def _begin(self, rule_id: str, event_uuid: str) -> float:
        self._running = True
        if self._watchdog is not None:
            self._watchdog.begin(self._org, rule_id, event_uuid, self._page_uuid)
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

    def _leave_out(self, rule_id: str, event_uuid: str, reason: str) -> None:
        self.left_out[rule_id] = LeftOut(
            rule_id=rule_id, event_uuid=event_uuid or self._page_uuid, reason=reason
        )

    def _leave_out_frozen(self, frozen: Sequence[Frozen], uuids: set[str], now: datetime) -> None:
        """Leave out rules that froze a process on this page, or several times within a day."""
        recent_orgs: dict[str, list[str]] = defaultdict(list)
        for call in frozen:
            if now - call.froze_at < _RECENT:
                recent_orgs[call.rule_id].append(call.org)
            if call.org == self._org and not uuids.isdisjoint((call.event_uuid, call.page_uuid)):
                self._leave_out(call.rule_id, call.event_uuid, FROZE)
        for rule_id, orgs in recent_orgs.items():
            if rule_id in self.left_out:
                continue
            if (count := orgs.count(self._org)) >= _REPEATEDLY:
                self._leave_out(rule_id, "", f"{FROZE} {count} times within a day")
            elif (count := len(set(orgs))) >= _REPEATEDLY:
                self._leave_out(rule_id, "", f"{FROZE} on events of {count} orgs within a day")


FROZE = "it froze oktawatch"
