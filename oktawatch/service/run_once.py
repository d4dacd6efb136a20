"""Poll each org once until it has caught up, and deliver the due notifications: `run --once`."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from msgspec import Struct

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pipeline import PageResult, Watch
from oktawatch.engine.poll import Poller
from oktawatch.service.app import Application
from oktawatch.service.connections import connections
from oktawatch.service.database import locked_database, prepare_to_watch
from oktawatch.service.delivery import deliver_once, open_notifiers, orphaned_notifications
from oktawatch.service.heartbeat import Heartbeat
from oktawatch.service.watching import watch_orgs
from oktawatch.store.errors import StoreError
from oktawatch.store.orgs import record_failure
from oktawatch.store.outbox import any_failed
from oktawatch.store.outbox_admin import NotificationFilter, count_notifications
from oktawatch.systemlog.budget import RateBudget
from oktawatch.systemlog.errors import SystemLogError

_ORGS_AT_ONCE = 16  # each holds two pages in memory


class OrgOutcome(Struct, frozen=True, kw_only=True):
    """The outcome of an org's poll."""

    org: str
    result: PageResult | None = None
    """The result of the poll; None if it failed, even if it had committed pages before."""
    error: str | None = None
    """One line for people, or None if the org caught up."""


class OnceResult(Struct, frozen=True, kw_only=True):
    """The result of one round over all orgs."""

    orgs: list[OrgOutcome]
    delivered: int
    """The number of delivered messages."""
    undelivered: int
    """The number of pending notifications and dead letters."""
    delivery_failed: bool
    """Whether a delivery failed in this run, or an earlier one still waits for its next attempt."""

    @property
    def errors(self) -> list[str]:
        """One line for people for each failed org."""
        return [outcome.error for outcome in self.orgs if outcome.error is not None]

    @property
    def exit_code(self) -> int:
        """1 if an org or a delivery failed, else 0."""
        return 1 if self.errors or self.delivery_failed else 0


async def run_once(app: Application) -> OnceResult:
    """Poll each org until it has caught up, and deliver the due notifications.

    An org that fails does not stop the others. Raises ConfigError, or StoreError if the database can't be used.
    """
    with locked_database(app) as database:
        return await database.until_cancelled(_run(app, database))


async def _run(app: Application, database: DatabaseExecutor) -> OnceResult:
    await prepare_to_watch(app, database)
    outcomes = await _poll_orgs(app, database)
    await _send_heartbeat(app, outcomes)
    async with open_notifiers(app, database) as notifiers:
        round_result = await deliver_once([*notifiers, orphaned_notifications(app, database)])
    return OnceResult(
        orgs=outcomes,
        delivered=round_result.delivered,
        undelivered=await database.run(count_notifications, NotificationFilter()),
        delivery_failed=round_result.failed > 0 or await database.run(any_failed, now=database.now()),
    )


async def _poll_orgs(app: Application, database: DatabaseExecutor) -> list[OrgOutcome]:
    slots = asyncio.Semaphore(_ORGS_AT_ONCE)
    async with connections(app.tls_context) as connect, watch_orgs(app, database) as watches:

        async def poll(org: str, watch: Watch) -> OrgOutcome:
            budget = RateBudget(app.rate_limit_share)
            poller = Poller(
                connect(app.accesses[org], budget=budget),
                database,
                watch,
                page_size=app.page_size,
                initial_lookback=app.initial_lookback,
            )
            async with slots:
                return await _poll(org, poller, database)

        return await asyncio.gather(*(poll(org, watch) for org, watch in watches.items()))


async def _send_heartbeat(app: Application, outcomes: Sequence[OrgOutcome]) -> None:
    if app.heartbeat is None:
        return
    heartbeat = Heartbeat(app.heartbeat)
    for outcome in outcomes:
        if outcome.error is None:
            heartbeat.polled(outcome.org)
    await heartbeat.round([outcome.org for outcome in outcomes])


async def _poll(org: str, poller: Poller, database: DatabaseExecutor) -> OrgOutcome:
    try:
        return OrgOutcome(org=org, result=await poller.round())
    except SystemLogError as error:
        problem: Exception = error
    except StoreError as error:
        # If the page couldn't be written, the failure couldn't be recorded either.
        return OrgOutcome(org=org, error=str(error))
    with suppress(StoreError):
        await database.run(record_failure, org, str(problem), now=database.now())
    return OrgOutcome(org=org, error=str(problem))
