"""What the daemon is to do: read when it starts, and again on SIGHUP."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import structlog
from msgspec import Struct

from oktawatch.config import ConfigError, Settings
from oktawatch.detection.registry import RuleSet
from oktawatch.engine.assembly import (
    make_access,
    make_channels,
    make_rules,
    make_tls_context,
    prepare_database,
)
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.newly_enabled_rules import log_newly_enabled_rules
from oktawatch.notify.channel import Channel
from oktawatch.store.errors import StoppedError, StoreError
from oktawatch.systemlog.access import OrgAccess

_log: Any = structlog.get_logger(__name__)

Load = Callable[[], Settings]
"""Reads the configuration anew; raises ConfigError."""


class Plan(Struct, frozen=True):
    """Settings, and what they come to."""

    settings: Settings
    rules: RuleSet
    accesses: list[OrgAccess]
    channels: list[Channel]
    trust: ssl.SSLContext | None
    """Whose certificates are good; None for the system's authorities alone."""

    @classmethod
    def of(cls, settings: Settings, *, strict: bool = False) -> "Plan":
        """Make what can be made before anything is touched; raise ConfigError.

        A rule of the operator's own that can't be used is logged and left out; ``strict`` raises for it.
        """
        rules = make_rules(settings, strict=strict)
        accesses = [make_access(settings, org) for org in settings.orgs]
        return cls(settings, rules, accesses, make_channels(settings), make_tls_context(settings))

    @property
    def channels_by_name(self) -> dict[str, Channel]:
        """The notifiers' channels by the notifiers' names."""
        names = [notifier.name for notifier in self.settings.notifiers]
        return dict(zip(names, self.channels, strict=True))

    def warn(self) -> None:
        """Log the settings that have no effect."""
        for place in self.settings.without_effect():
            _log.warning("setting_without_effect", setting=place)

    async def prepare(self, database: DatabaseExecutor) -> None:
        """Bring the database up for these orgs and rules; raise ConfigError or StoreError."""
        await prepare_database(self.settings, database)
        orgs = [org.name for org in self.settings.orgs]
        lookback = self.settings.poll.initial_lookback
        await log_newly_enabled_rules(database, orgs, self.rules, initial_lookback=lookback)


async def reload_plan(plan: Plan, load: Load, database: DatabaseExecutor) -> Plan:
    """Read configuration and rules anew; when anything is wrong with them, log it and keep what there is.

    What a start only leaves out, a rule that can't be used, is refused here: the running set has it
    as it was when it could.
    """
    try:
        new = await asyncio.to_thread(_read, plan, load)
        new.warn()
        await new.prepare(database)
    except StoppedError:
        return plan
    except (ConfigError, StoreError) as error:
        _log.error("reload_refused", error=str(error))
    except Exception as error:  # noqa: BLE001 -- a configuration that runs must not end by one that doesn't
        _log.error("reload_refused", error=f"unexpected {type(error).__name__}", exc_info=error)
    else:
        return new
    return plan


def _read(plan: Plan, load: Load) -> Plan:
    settings = load()
    if settings.database.url != plan.settings.database.url:
        expected = "expected the one in use: another one takes a restart"
        raise settings.error("wrong value", "database", "url", expected=expected)
    return Plan.of(settings, strict=True)
