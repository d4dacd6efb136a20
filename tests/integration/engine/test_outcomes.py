"""A success after failures raises the alert, and people are notified of it once."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import null, update

from oktawatch.detection.registry import RuleSettings, build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.engine.routing import Route
from oktawatch.model.event import Event
from oktawatch.model.severity import Severity
from oktawatch.store.alerts import show_alert
from oktawatch.store.database import Database
from oktawatch.store.schema import downgrade, upgrade
from oktawatch.store.tables import events
from tests.support.databases import NOW, ORG, open_database, rows
from tests.support.places import Place
from tests.support.streams import event, page

R1 = "Okta.Anonymizing.VPN.Login"
AGENT = "ExampleBrowser/1.0"


def sign_in(number: int, *, seconds: int, result: str) -> Event:
    """Return a proxied sign-in that far after noon; a failure has a reason."""
    reason = {"reason": "INVALID_CREDENTIALS"} if result == "FAILURE" else {}
    client = {"ipAddress": "203.0.113.7", "userAgent": {"rawUserAgent": AGENT}}
    return event(number, at=timedelta(seconds=seconds), outcome={"result": result, **reason}, client=client)


FAILED, GOT_IN = sign_in(1, seconds=0, result="FAILURE"), sign_in(2, seconds=8, result="SUCCESS")


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    """Open a fresh database of either kind."""
    with open_database(place) as made:
        yield made


def read(
    database: Database,
    events: Sequence[Event],
    *,
    notify: bool = True,
    raise_on_success: bool = True,
    severity: str = "MEDIUM",
) -> None:
    """Commit one page, with the state of a process that has just started."""
    options = {"raise_on_success": raise_on_success, "severity": severity}
    settings = {R1: RuleSettings(options=options)}
    watch = Watch(org=ORG, rules=build_rules(settings, read_file=str), routes=(Route(notifier="soc"),))
    commit_page(database, watch, page(events), notify=notify, advance=lambda *_: None, now=NOW)


def notified(database: Database) -> list[tuple[str, str]]:
    """Return the kinds and severities in the outbox."""
    return sorted((row["kind"], row["severity"].name) for row in rows(database, "notifications"))


def alert(database: Database) -> dict[str, Any]:
    """Return the only alert."""
    (row,) = rows(database, "alerts")
    return row


ONCE = [("opened", "MEDIUM"), ("raised", "HIGH")]


def test_a_success_after_a_failure_raises_the_alert_once(database: Database) -> None:
    """A success 8 seconds after a failure raises the alert by one level once, and both are counted."""
    read(database, [FAILED])
    assert notified(database) == [("opened", "MEDIUM")]
    read(database, [GOT_IN])
    read(database, [FAILED, GOT_IN])
    assert notified(database) == ONCE
    row = alert(database)
    assert (row["successes"], row["failures"], row["risen"]) == (1, 1, True)
    assert (row["succeeded_at"], row["failed_at"]) == (NOW + timedelta(seconds=8), NOW)
    assert (row["outcome_result"], row["outcome_reason"]) == ("FAILURE", "INVALID_CREDENTIALS")
    assert row["title"].startswith("Nora Vale <nora@example.com> signed in from")


def test_one_page_causes_the_same_messages_as_two(database: Database) -> None:
    """A failure and a success cause the same messages on one page as on two."""
    read(database, [FAILED, GOT_IN])
    assert notified(database) == ONCE


def test_a_failure_that_arrives_after_its_success_raises_the_alert(database: Database) -> None:
    """A failure before the success raises the alert, however late it arrives."""
    read(database, [GOT_IN])
    read(database, [FAILED])
    assert notified(database) == ONCE
    assert alert(database)["title"].startswith("Nora Vale <nora@example.com> signed in from")


def test_a_poll_notifies_of_an_alert_of_a_silent_backfill(database: Database) -> None:
    """A poll notifies once of an alert that a backfill without notifications recorded."""
    read(database, [FAILED, GOT_IN], notify=False)
    assert notified(database) == []
    read(database, [FAILED])
    assert notified(database) == [("opened", "HIGH")]
    read(database, [GOT_IN])
    assert notified(database) == [("opened", "HIGH")]


def test_the_success_of_a_critical_alert_is_notified_once(database: Database) -> None:
    """An alert that is CRITICAL for its failures can't rise, and its first success is notified all the same."""
    read(database, [FAILED], severity="CRITICAL")
    read(database, [FAILED, GOT_IN], severity="CRITICAL")
    read(database, [GOT_IN], severity="CRITICAL")
    assert notified(database) == [("opened", "CRITICAL"), ("raised", "CRITICAL")]
    assert (alert(database)["risen"], alert(database)["told"]) == (True, Severity.CRITICAL)


@pytest.mark.parametrize("silent", [False, True])
def test_a_success_after_a_failure_that_made_the_alert_critical_is_notified(
    database: Database, *, silent: bool
) -> None:
    """The success has a message of its own although the failure was notified as raised to CRITICAL, too."""
    worse = sign_in(3, seconds=4, result="FAILURE")
    read(database, [FAILED], severity="HIGH")
    read(database, [worse], severity="CRITICAL")
    read(database, [GOT_IN], severity="HIGH", notify=not silent)
    read(database, [GOT_IN], severity="HIGH")
    assert notified(database) == [("opened", "HIGH"), ("raised", "CRITICAL"), ("raised", "CRITICAL")]


def test_without_raise_on_success_the_alert_keeps_its_severity(database: Database) -> None:
    """The option keeps the severity of the published rule, and the outcomes are counted."""
    read(database, [FAILED, GOT_IN], raise_on_success=False)
    assert notified(database) == [("opened", "MEDIUM")]
    assert (alert(database)["successes"], alert(database)["risen"]) == (1, False)


def test_each_event_behind_an_alert_can_be_read_back(database: Database) -> None:
    """The events of an alert can be read in order after the events themselves were pruned."""
    read(database, [GOT_IN, FAILED])
    shown = show_alert(database, alert(database)["id"])
    assert shown is not None
    assert [
        (
            event["event_type"],
            event["outcome"],
            event["outcome_reason"],
            event["client_ip"],
            event["user_agent"],
        )
        for event in shown["events"]
    ] == [
        ("user.session.start", "FAILURE", "INVALID_CREDENTIALS", "203.0.113.7", AGENT),
        ("user.session.start", "SUCCESS", None, "203.0.113.7", AGENT),
    ]


def test_the_migration_counts_what_is_stored(database: Database) -> None:
    """Without history, the migration counts only the outcome of the alert's first event."""
    read(database, [FAILED, GOT_IN], raise_on_success=False)
    with database.write() as connection:  # older versions stored history only if a rule needed it
        connection.execute(update(events).values(fields=null()))
    downgrade(database, "0009")
    upgrade(database)
    row = alert(database)
    assert (row["successes"], row["failures"], row["succeeded_at"], row["failed_at"]) == (0, 1, None, NOW)
    first, second = rows(database, "matches")
    assert (first["event_type"], first["outcome"], first["user_agent"]) == (
        "user.session.start",
        "FAILURE",
        AGENT,
    )
    assert (second["event_type"], second["outcome"]) == (None, None)


def test_the_migration_counts_what_history_remembers(database: Database) -> None:
    """With history, the migration counts the outcome of every event."""
    rules = build_rules({}, enable=["*"], read_file=str)
    watch = Watch(org=ORG, rules=rules)
    commit_page(database, watch, page([FAILED, GOT_IN]), notify=True, advance=lambda *_: None, now=NOW)
    unknown = ("risen", "anonymizer", "operator", "change_id")  # no migration fills them
    before = rows(database, "alerts", without=unknown)
    matches = rows(database, "matches")
    downgrade(database, "0009")
    upgrade(database)
    assert rows(database, "alerts", without=unknown) == before
    assert rows(database, "matches") == matches
