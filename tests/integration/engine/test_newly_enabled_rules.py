"""A newly enabled rule is logged once, with the backfill that completes its history."""

from datetime import timedelta
from typing import Any

from structlog.testing import capture_logs

from oktawatch.detection.registry import RuleSettings, build_rules
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.newly_enabled_rules import log_newly_enabled_rules
from oktawatch.store.orgs import register_orgs
from tests.support.databases import NOW, ORG

R1 = "Okta.Anonymizing.VPN.Login"
WEEK = "Okta.First.Proxied.Session"
MINUTES = "Okta.Multiple.Sessions"


async def logged(
    database: DatabaseExecutor, *enable: str, orgs: tuple[str, ...] = (ORG,), off: bool = False
) -> Any:
    """Enable these rules in addition to the default; return the logged rules and backfill, or None."""
    settings = {R1: RuleSettings(enabled=not off)}
    rules = build_rules(settings, enable=enable, read_file=str)
    await database.run(register_orgs, orgs, now=NOW)
    with capture_logs() as lines:
        await log_newly_enabled_rules(database, orgs, rules, initial_lookback=timedelta(hours=24))
    assert len(lines) < 2
    return (lines[0]["rules"], lines[0].get("backfill")) if lines else None


async def test_a_first_start_logs_only_rules_that_need_a_backfill(database: DatabaseExecutor) -> None:
    """At the first start, only rules that look back further than the first poll are logged."""
    assert await logged(database) is None
    assert await logged(database, MINUTES, orgs=("other",)) is None
    third = await logged(database, MINUTES, WEEK, orgs=("third",))
    assert third == ([WEEK], "oktawatch backfill --since 7d")


async def test_a_newly_enabled_rule_is_logged_once(database: DatabaseExecutor) -> None:
    """A newly enabled rule is logged once with its longest window, and again after it was disabled."""
    await logged(database)
    assert await logged(database, MINUTES) == ([MINUTES], "oktawatch backfill --since 1h")
    assert await logged(database, MINUTES) is None
    assert await logged(database) is None
    assert await logged(database, WEEK, MINUTES) == ([WEEK, MINUTES], "oktawatch backfill --since 7d")


async def test_a_rule_about_single_events_needs_no_backfill(database: DatabaseExecutor) -> None:
    """A newly enabled rule about single events is logged without a backfill."""
    await logged(database, off=True)
    assert await logged(database) == ([R1], None)


async def test_only_orgs_that_lack_history_are_named(database: DatabaseExecutor) -> None:
    """The backfill is for the orgs that lack history only."""
    await logged(database, WEEK)
    added = await logged(database, WEEK, orgs=(ORG, "other"))
    assert added == ([WEEK], "oktawatch backfill --since 7d --org other")
