"""Build the configuration of each org, and open the watchdog for custom rules."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.frozen_rules import watch_rules
from oktawatch.engine.pipeline import Watch
from oktawatch.service.app import Application


@asynccontextmanager
async def watch_orgs(app: Application, database: DatabaseExecutor) -> AsyncIterator[dict[str, Watch]]:
    """Yield the configuration of each org to read, by name, while the watchdog watches custom rules.

    The schema must have been upgraded.
    """
    rules, routes = app.rules, app.routes
    async with watch_rules(database, rules, org_tags=app.org_tags, routes=routes) as watchdog:
        yield {
            org: Watch(
                org=org,
                tags=app.org_tags[org],
                rules=rules,
                allow=app.allow,
                routes=routes,
                watchdog=watchdog,
            )
            for org in app.orgs
        }
