"""Log newly enabled rules, with the backfill command that completes their history.

Only events for enabled rules are read. A newly enabled rule that looks back a week has complete history only after a
week, unless a backfill reads that week.
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
from oktawatch.store.orgs import polled_rules, store_polled_rules

_log: Any = structlog.get_logger(__name__)

_HOUR = timedelta(hours=1)


async def log_newly_enabled_rules(
    database: DatabaseExecutor, orgs: Sequence[str], rules: RuleSet, *, initial_lookback: timedelta
) -> None:
    """Log the rules that were enabled since these orgs were last polled, and the backfill for them.

    The first poll of an org reads the events of the last ``initial_lookback``. So for an org that was never polled, only
    rules that look back further are logged. Stores the enabled rules of each org. Raises StoreError.
    """
    enabled_ids = {rule.id for rule in rules.rules}
    previous = await database.run(polled_rules, orgs)
    newly_enabled: dict[str, Rule] = {}
    affected_orgs = []
    for org in orgs:
        known = previous[org]
        new = [
            rule
            for rule in rules.rules
            if (_window(rule) > initial_lookback if known is None else rule.id not in known)
        ]
        if new:
            affected_orgs.append(org)
            newly_enabled |= {rule.id: rule for rule in new}
    if newly_enabled:
        backfill = _backfill(
            list(newly_enabled.values()), [] if len(affected_orgs) == len(orgs) else affected_orgs
        )
        _log.info("rules_enabled", rules=list(newly_enabled), **({"backfill": backfill} if backfill else {}))
    # Last, so that the rules are logged again at the next start if the process dies before this line.
    if changed := [org for org in orgs if previous[org] != enabled_ids]:
        await database.run(store_polled_rules, changed, enabled_ids)


def _window(rule: Rule) -> timedelta:
    return rule.window if isinstance(rule, HistoryRule) else timedelta()


def _backfill(rules: Sequence[Rule], orgs: Sequence[str]) -> str | None:
    """Return the backfill command for the longest window, in whole hours, or None if no rule looks back."""
    longest = max(map(_window, rules))
    if not longest:
        return None
    hours = -(-longest // _HOUR)
    since = format_duration(hours * _HOUR)
    return " ".join([f"oktawatch backfill --since {since}", *(f"--org {org}" for org in orgs)])
