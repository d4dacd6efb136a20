"""How each org is watched, with users' rules guarded: what froze the last process is recorded."""

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pipeline import Watch
from oktawatch.engine.rule_budget import FROZE
from oktawatch.engine.rule_watchdog import RuleWatchdog
from oktawatch.model.left_out import FrozenCall
from oktawatch.model.timestamps import utc_now
from oktawatch.service.app import Application
from oktawatch.store.errors import StoreError
from oktawatch.store.left_out import record_frozen

_log: Any = structlog.get_logger(__name__)


@asynccontextmanager
async def watch_orgs(app: Application, database: DatabaseExecutor) -> AsyncIterator[dict[str, Watch]]:
    """Yield how each org to read is watched, by its name, and guard users' rules meanwhile.

    The schema has to be up: the call that froze the last process is recorded.
    """
    async with _guard_rules(app, database) as watchdog:
        yield {
            org: Watch(org=org, tags=app.org_tags[org], rules=app.rules, routes=app.routes, watchdog=watchdog)
            for org in app.orgs
        }


@asynccontextmanager
async def _guard_rules(app: Application, database: DatabaseExecutor) -> AsyncIterator[RuleWatchdog | None]:
    """Open the watchdog of users' rules; None if there are none, or no place for its file."""
    if not app.rules.of_users:
        yield None
        return
    path = _path(database)
    try:
        watchdog = RuleWatchdog(path)
    except OSError as error:
        # Without it a rule that freezes the process does so again after each restart.
        _log.error("rule_watchdog_off", path=str(path), error=error.strerror or str(error))
        yield None
        return
    try:
        if watchdog.frozen is not None:
            await _record(app, watchdog.frozen, database)
        watchdog.arm()
        yield watchdog
    finally:
        watchdog.close()


async def _record(app: Application, call: FrozenCall, database: DatabaseExecutor) -> None:
    _log.error(
        "rule_froze",
        org=call.org,
        rule=call.rule_id,
        event_uuid=call.event_uuid or None,
        page_uuid=call.page_uuid,
    )
    tags = app.org_tags.get(call.org)
    tell = [route.notifier for route in app.routes if tags is not None and route.watches(call.org, tags)]
    try:
        await database.run(record_frozen, call, tell, reason=FROZE, now=utc_now())
    except StoreError as error:
        _log.error("rule_froze_unrecorded", rule=call.rule_id, error=str(error))


def _path(database: DatabaseExecutor) -> Path:
    """Return the path of the watchdog's files: beside an SQLite file, else in this user's folder for state."""
    url = database.database.url
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        return Path(f"{Path(url.database).resolve()}.rules")
    state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]  # systemd's
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    folder = Path(state) if state else Path(home) / "oktawatch"
    name = hashlib.sha256(url.render_as_string(hide_password=True).encode()).hexdigest()[:16]
    return folder / f"{name}.rules"
