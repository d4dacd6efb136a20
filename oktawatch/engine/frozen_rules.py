"""Watch custom rules while pages are read, and record the call that froze the last process."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog

from oktawatch.detection.registry import RuleSet
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.process_files import process_path
from oktawatch.engine.routing import Route
from oktawatch.engine.rule_budget import ALARM_INTERVAL, FROZE
from oktawatch.engine.rule_watchdog import RuleWatchdog
from oktawatch.model.left_out import FrozenCall
from oktawatch.store.errors import StoreError
from oktawatch.store.left_out import record_frozen

_log: Any = structlog.get_logger(__name__)


@asynccontextmanager
async def watch_rules(
    database: DatabaseExecutor,
    rules: RuleSet,
    *,
    org_tags: Mapping[str, Sequence[str]],
    routes: Sequence[Route],
) -> AsyncIterator[RuleWatchdog | None]:
    """Open the watchdog for custom rules; yield None without custom rules, or if the watchdog's file can't be opened.

    If a call froze the last process, record the call, and enqueue an alarm for the notifiers of the call's org, unless
    an alarm about that rule and org is recent. The schema must already be upgraded.
    """
    if not rules.has_custom_rules:
        yield None
        return
    path = process_path(database.database, "rules")
    try:
        watchdog = RuleWatchdog(path)
    except OSError as error:
        # Without the watchdog, a rule that freezes the process does so again after each restart.
        _log.error("rule_watchdog_off", path=str(path), error=error.strerror or str(error))
        yield None
        return
    try:
        if (call := watchdog.frozen) is not None:
            tags = org_tags.get(call.org)
            audience = [r.notifier for r in routes if tags is not None and r.watches(call.org, tags)]
            await _record(call, audience, database)
        watchdog.arm()
        yield watchdog
    finally:
        watchdog.close()


async def _record(call: FrozenCall, notifiers: list[str], database: DatabaseExecutor) -> None:
    _log.error(
        "rule_froze",
        org=call.org,
        rule=call.rule_id,
        event_uuid=call.event_uuid or None,
        page_uuid=call.page_uuid,
    )
    try:
        await database.run(
            record_frozen, call, notifiers, reason=FROZE, alarm_interval=ALARM_INTERVAL, now=database.now()
        )
    except StoreError as error:
        _log.error("rule_froze_unrecorded", rule=call.rule_id, error=str(error))
