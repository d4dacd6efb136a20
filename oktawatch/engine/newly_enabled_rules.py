"""Log which rules are newly on, with the backfill that fills their history.

Events are read for the rules that are on. A rule that was just turned on and looks back a week would need a
week until its history is complete; a backfill of that week completes it at once.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog

from oktawatch.detection.registry import RuleSet
from oktawatch.detection.rule import Rule
from oktawatch.detection.windows import HistoryRule
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.model.durations import format_duration
from oktawatch.store.orgs import remember_rules, rules_before

_log: Any = structlog.get_logger(__name__)

_HOUR = timedelta(hours=1)


async def log_newly_enabled_rules(
    database: DatabaseExecutor, orgs: Sequence[str], rules: RuleSet, *, initial_lookback: timedelta
) -> None:
    """Log the rules that are on and were off when these orgs were last watched, and the backfill for them.

    An org that was never watched is read from ``initial_lookback`` on: only rules that look back further
    lack history there. Raises StoreError.
    """
    on = {rule.id for rule in rules.rules}
    before = await database.run(rules_before, orgs)
    enabled: dict[str, Rule] = {}
    concerned = []
    for org in orgs:
        known = before[org]
        new = [
            rule
            for rule in rules.rules
            if (_window(rule) > initial_lookback if known is None else rule.id not in known)
        ]
        if new:
            concerned.append(org)
            enabled |= {rule.id: rule for rule in new}
    if enabled:
        backfill = _backfill(list(enabled.values()), [] if len(concerned) == len(orgs) else concerned)
        _log.info("rules_enabled", rules=list(enabled), **({"backfill": backfill} if backfill else {}))
    # Last: a process that dies before this line logs the rules again.
    if changed := [org for org in orgs if before[org] != on]:
        await database.run(remember_rules, changed, on)


def _window(rule: Rule) -> timedelta:
    return rule.window if isinstance(rule, HistoryRule) else timedelta()


def _backfill(rules: Sequence[Rule], orgs: Sequence[str]) -> str | None:
    """Return the command that fills the longest window, in whole hours; None if no rule looks back."""
    longest = max(map(_window, rules))
    if not longest:
        return None
    hours = -(-longest // _HOUR)
    since = format_duration(hours * _HOUR)
    return " ".join([f"oktawatch backfill --since {since}", *(f"--org {org}" for org in orgs)])
