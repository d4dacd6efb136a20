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


async def said(
    database: DatabaseExecutor, *enable: str, orgs: tuple[str, ...] = (ORG,), off: bool = False
) -> Any:
    """Watch these orgs with these rules in addition to the default; return what was logged."""
    settings = {R1: RuleSettings(enabled=not off)}
    rules = build_rules(settings, enable=enable, read_file=str)
    await database.run(register_orgs, orgs, now=NOW)
    with capture_logs() as lines:
        await log_newly_enabled_rules(database, orgs, rules, initial_lookback=timedelta(hours=24))
    assert len(lines) < 2
    return (lines[0]["rules"], lines[0].get("backfill")) if lines else None


async def test_a_first_start_says_what_its_first_poll_does_not_fill(database: DatabaseExecutor) -> None:
    """Rules that look back no further than the first poll reads need nothing."""
    assert await said(database) is None
    assert await said(database, MINUTES, orgs=("other",)) is None
    third = await said(database, MINUTES, WEEK, orgs=("third",))
    assert third == ([WEEK], "oktawatch backfill --since 7d")


async def test_a_rule_that_is_turned_on_later_is_said_once(database: DatabaseExecutor) -> None:
    """A newly enabled rule is logged once with its longest window, and again after it was disabled."""
    await said(database)
    assert await said(database, MINUTES) == ([MINUTES], "oktawatch backfill --since 1h")
    assert await said(database, MINUTES) is None
    assert await said(database) is None
    assert await said(database, WEEK, MINUTES) == ([WEEK, MINUTES], "oktawatch backfill --since 7d")


async def test_a_rule_that_looks_at_one_event_needs_no_past(database: DatabaseExecutor) -> None:
    """A newly enabled rule about single events is logged without a backfill."""
    await said(database, off=True)
    assert await said(database) == ([R1], None)


async def test_only_the_orgs_that_lack_something_are_named(database: DatabaseExecutor) -> None:
    """An org that had the rule on is not read again."""
    await said(database, WEEK)
    added = await said(database, WEEK, orgs=(ORG, "other"))
    assert added == ([WEEK], "oktawatch backfill --since 7d --org other")
