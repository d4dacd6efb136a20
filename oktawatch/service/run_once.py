"""One poll of each org until it has caught up, and delivery of what is due: `run --once`."""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress

from msgspec import Struct

from oktawatch.config import OrgSettings, Settings
from oktawatch.detection.registry import RuleSet
from oktawatch.engine.assembly import (
    make_access,
    make_channels,
    make_heartbeat,
    make_orphaned_notifications,
    make_rules,
    make_tls_context,
    make_watch,
    open_database,
    open_notifiers,
    prepare_database,
)
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.newly_enabled_rules import log_newly_enabled_rules
from oktawatch.engine.pipeline import PageResult
from oktawatch.engine.poll import Poller
from oktawatch.model.timestamps import utc_now
from oktawatch.notify.channel import Channel
from oktawatch.service.delivery import deliver_once
from oktawatch.service.file_lock import exclusive_lock
from oktawatch.service.heartbeat import Heartbeat
from oktawatch.service.rule_watch import watching_rules
from oktawatch.store.errors import StoreError
from oktawatch.store.orgs import record_failure
from oktawatch.store.outbox import has_retries
from oktawatch.store.outbox_admin import NotificationFilter, count_notifications
from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.budget import RateBudget
from oktawatch.systemlog.errors import SystemLogError

_AT_ONCE = 16  # orgs: each holds two pages in memory


class OrgOutcome(Struct, frozen=True, kw_only=True):
    """What became of an org's poll."""

    org: str
    result: PageResult | None = None
    """What the poll brought about; None when it failed, though it may have committed pages before."""
    error: str | None = None
    """One line for people; None when the org caught up."""


class OnceResult(Struct, frozen=True, kw_only=True):
    """The result of one round over all orgs."""

    orgs: list[OrgOutcome]
    delivered: int
    """Messages that their receivers took."""
    undelivered: int
    """Notifications that wait for the next time, or were given up."""
    delivery_failed: bool
    """A delivery failed in this run, or one that failed before still waits for its next attempt."""

    @property
    def errors(self) -> list[str]:
        """One line for people for each org that failed."""
        return [outcome.error for outcome in self.orgs if outcome.error is not None]

    @property
    def exit_code(self) -> int:
        """0; 1 when an org or a delivery failed."""
        return 1 if self.errors or self.delivery_failed else 0


async def run_once(settings: Settings) -> OnceResult:
    """Poll each org until it has caught up, and deliver what is due.

    An org that fails stops no other. Raises ConfigError when it can't start as configured, and
    StoreError when it can't for the database's sake.
    """
    rules = make_rules(settings)
    accesses = [make_access(settings, org) for org in settings.orgs]
    channels = make_channels(settings)
    trust = make_tls_context(settings)
    database = open_database(settings)
    try:
        with exclusive_lock(database):
            return await database.until_cancelled(_once(settings, rules, accesses, channels, trust, database))
    finally:
        database.close()


async def _once(
    settings: Settings,
    rules: RuleSet,
    accesses: Sequence[OrgAccess],
    channels: Sequence[Channel],
    trust: ssl.SSLContext | None,
    database: DatabaseExecutor,
) -> OnceResult:
    # Half a second and 65 MB, which who may not start doesn't pay.
    from oktawatch.systemlog.client import LogClient  # noqa: PLC0415
    from oktawatch.systemlog.transport import open_session  # noqa: PLC0415

    await prepare_database(settings, database)
    await log_newly_enabled_rules(
        database,
        [org.name for org in settings.orgs],
        rules,
        initial_lookback=settings.poll.initial_lookback,
    )
    turn = asyncio.Semaphore(_AT_ONCE)
    async with open_session(trust) as session, watching_rules(settings, rules, database) as watchdog:

        async def poll(org: OrgSettings, access: OrgAccess) -> OrgOutcome:
            budget = RateBudget(settings.poll.rate_limit_share)
            poller = Poller(
                LogClient(access, session=session, budget=budget),
                database,
                make_watch(settings, org, rules, watchdog),
                page_size=settings.poll.page_size,
                initial_lookback=settings.poll.initial_lookback,
            )
            async with turn:
                return await _poll(org.name, poller, database)

        polls = [poll(org, access) for org, access in zip(settings.orgs, accesses, strict=True)]
        outcomes = await asyncio.gather(*polls)
    await _beat(settings, outcomes)
    async with open_notifiers(settings, rules, database, channels) as notifiers:
        delivered = await deliver_once([*notifiers, make_orphaned_notifications(settings, database)])
    undelivered = await database.run(count_notifications, NotificationFilter())
    return OnceResult(
        orgs=outcomes,
        delivered=delivered.taken,
        undelivered=undelivered,
        delivery_failed=delivered.failed > 0 or await database.run(has_retries),
    )


async def _beat(settings: Settings, outcomes: Sequence[OrgOutcome]) -> None:
    beat = make_heartbeat(settings)
    if beat is None:
        return
    heartbeat = Heartbeat(beat)
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
        # Where the page could not be written, its failure can't be, either.
        return OrgOutcome(org=org, error=str(error))
    with suppress(StoreError):
        await database.run(record_failure, org, str(problem), now=utc_now())
    return OrgOutcome(org=org, error=str(problem))
