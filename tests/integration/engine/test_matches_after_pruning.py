"""Pruning changes no later match, alert or warm-up."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oktawatch.detection.registry import RuleSet
from oktawatch.detection.rules.failed_logins_unknown_user import FailedLoginsUnknownUser
from oktawatch.detection.rules.first_proxied_session import FirstProxiedSession
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.engine.pruning import LATE
from oktawatch.model.event import Event
from oktawatch.model.history import SIGN_IN
from oktawatch.model.timestamps import from_text
from oktawatch.store.database import Database
from oktawatch.store.pruning import prune_events
from tests.support.databases import NOW, ORG, empty, open_database, outcome, rows
from tests.support.places import Kind, place_of
from tests.support.properties import examples
from tests.support.pruning import (
    AGES,
    DAY,
    DEFAULT,
    OTHER,
    SHORT_AGES,
    expiry_before,
    history_ages,
    pruner,
    read,
    record_poll,
)
from tests.support.streams import event, page
from tests.unit.detection.history_streams import body_of, pages_of, rule_of, streams
from tests.unit.detection.reference import REFERENCE_RULES, Body

properties = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def database(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield one database for all tests; each test empties it first."""
    with place_of(kind, tmp_path_factory.mktemp("pruning")) as place, open_database(place, OTHER) as made:
        yield made


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield an SQLite file, for tests with many examples."""
    with place_of(Kind.SQLITE, tmp_path_factory.mktemp("file")) as place, open_database(place) as made:
        yield made


@pytest.fixture
def executor(database: Database) -> Iterator[DatabaseExecutor]:
    """Yield the emptied database with its own threads."""
    empty(database)
    made = DatabaseExecutor(database.url.render_as_string(hide_password=False))
    yield made
    made.close()


async def test_an_org_without_remaining_history_does_not_warm_up_again(
    database: Database, executor: DatabaseExecutor
) -> None:
    """An org whose history is completely pruned still counts as old."""
    record_poll(database, NOW)
    read(database, 40 * DAY, 39 * DAY)
    await pruner(executor, ages=SHORT_AGES).round()
    assert history_ages(database) == []
    read(database, timedelta())
    warm = {alert["anchor"]: alert["context"].get("warmup") for alert in first_seen_alerts(database)}
    assert warm == {NOW - 40 * DAY: True, NOW - 39 * DAY: True, NOW: None}


async def test_an_event_type_that_no_rule_uses_warms_up_again(
    database: Database, executor: DatabaseExecutor
) -> None:
    """If no rule uses an event type any more, an org counts as new for it after pruning, except for sign-ins."""
    record_poll(database, NOW)
    sso = "user.authentication.sso"
    read(database, 40 * DAY, kind=sso)
    await pruner(executor, ages=SHORT_AGES).round()
    assert [row["event_type"] for row in rows(database, "pruned_history")] == [sso]
    read(database, 39 * DAY, rules=DEFAULT, org=OTHER)
    await pruner(executor, DEFAULT, ages=SHORT_AGES).round()
    assert [(row["org"], row["event_type"]) for row in rows(database, "pruned_history")] == [(OTHER, SIGN_IN)]
    read(database, timedelta(), kind=sso)
    assert first_seen_alerts(database)[-1]["context"]["warmup"]


async def test_a_backfill_of_pruned_history_warms_up(database: Database, executor: DatabaseExecutor) -> None:
    """A backfill of a time range whose history was pruned treats the org as new."""
    record_poll(database, NOW)
    read(database, 60 * DAY)
    await pruner(executor, ages=SHORT_AGES).round()
    read(database, 50 * DAY)
    assert first_seen_alerts(database)[-1]["context"]["warmup"]


def first_seen_alerts(database: Database) -> list[dict[str, Any]]:
    """Return the alerts of first proxied sessions, in order of time."""
    found = [alert for alert in rows(database, "alerts") if alert["rule_id"] == FirstProxiedSession.id]
    return sorted(found, key=lambda alert: alert["anchor"])


def commit(database: Database, watch: Watch, bodies: list[Body]) -> None:
    """Commit a page."""
    sent = page([Event.from_body(body) for body in bodies])
    commit_page(database, watch, sent, notify=True, advance=lambda *_: None, now=NOW)


def compare_with_and_without_pruning(database: Database, rule_id: str, data: st.DataObject) -> None:
    """Compare the results of a stream with and without pruning in the middle of it.

    Batches have any size, another process may prune, history may be cached, and the pruning process may die.
    """
    rule = rule_of(rule_id)
    rules = RuleSet([rule])
    stream = sorted(data.draw(streams(rule_id)), key=lambda body: body["published"])
    cut = data.draw(st.integers(0, len(stream)), label="read before")
    before, after = (
        data.draw(st.permutations(part)) if part else [] for part in (stream[:cut], stream[cut:])
    )
    pages = [list(part) for part in pages_of(data, before)], [list(part) for part in pages_of(data, after)]
    most = data.draw(st.integers(1, 24), label="most")
    pieces = data.draw(st.integers(1, 24), label="pieces until it dies")
    starts_anew = data.draw(st.booleans(), label="starts anew")

    def run(*, pruned: bool) -> dict[str, Any]:
        empty(database)
        watch = Watch(org=ORG, rules=rules)
        for part in pages[0]:
            commit(database, watch, part)
        if pruned and after:
            earliest = min(from_text(body["published"]) for body in after)
            expiry = expiry_before(earliest - rules.longest_window, rules)
            for _ in range(pieces):
                if not prune_events(database, expiry, most).more:
                    break
            if starts_anew:
                watch = Watch(org=ORG, rules=rules)
        for part in pages[1]:
            commit(database, watch, part)
        return compared(database)

    assert run(pruned=True) == run(pruned=False)


@pytest.mark.parametrize("rule_id", [*REFERENCE_RULES, FirstProxiedSession.id])
@settings(properties, max_examples=examples(40))
@given(data=st.data())
def test_pruning_changes_no_later_match(file: Database, rule_id: str, data: st.DataObject) -> None:
    """Pruning before the window of the earliest future event changes no match, alert or warm-up."""
    compare_with_and_without_pruning(file, rule_id, data)


@pytest.mark.parametrize("rule_id", [*REFERENCE_RULES, FirstProxiedSession.id])
@settings(properties, max_examples=examples(5))
@given(data=st.data())
def test_pruning_changes_no_later_match_on_both_databases(
    database: Database, rule_id: str, data: st.DataObject
) -> None:
    """Pruning changes no later match on either database, with fewer examples."""
    compare_with_and_without_pruning(database, rule_id, data)


def compared(database: Database) -> dict[str, Any]:
    """Return everything that must not depend on pruning."""
    kept = outcome(database)
    del kept["events"], kept["signals"]
    for alert in kept["alerts"]:
        alert["context"] = {key: alert["context"].get(key) for key in ("evidence", "warmup", "event_type")}
    return kept


def test_the_comparison_detects_pruning_that_is_too_late(database: Database) -> None:
    """The comparison detects pruning that is a millisecond too late, which loses a match."""
    empty(database)
    rule = rule_of(FailedLoginsUnknownUser.id)
    rules = RuleSet([rule])
    body = {
        "eventType": "user.session.start",
        "actor.id": "00u1",
        "actor.alternateId": "a@example.com",
        "client.ipAddress": "203.0.113.7",
        "outcome.reason": "VERIFICATION_ERROR",
    }
    window = rules.longest_window
    bodies = [body_of(n, at, body) for n, at in enumerate((timedelta(), window / 2, window))]
    for late, matches in ((timedelta(), 1), (timedelta(milliseconds=1), 0)):
        empty(database)
        commit(database, Watch(org=ORG, rules=rules), bodies[:2])
        cut = from_text(bodies[2]["published"]) - window + late
        prune_events(database, expiry_before(cut, rules), 10)
        commit(database, Watch(org=ORG, rules=rules), bodies[2:])
        assert len(rows(database, "matches")) == matches


async def test_a_sweep_after_pruning_finds_the_same_matches(
    database: Database, executor: DatabaseExecutor
) -> None:
    """A sweep after pruning finds the same matches as without pruning."""
    rules = RuleSet([FirstProxiedSession()])
    swept = NOW - timedelta(hours=3)
    record_poll(database, NOW, swept=swept)
    latest = swept - AGES.sweep_window - LATE
    watch = Watch(org=ORG, rules=rules)
    same = {"actor": {"id": "00u1", "alternateId": "nora@example.com"}}
    first = page([event(1, at=latest - rules.longest_window - NOW, **same)])
    commit_page(database, watch, first, notify=True, advance=lambda *_: None, now=NOW)
    await pruner(executor, rules, ages=SHORT_AGES).round()
    late = page([event(2, at=latest - NOW, **same)])
    commit_page(database, Watch(org=ORG, rules=rules), late, notify=True, advance=lambda *_: None, now=NOW)
    assert len(rows(database, "matches")) == 1


async def test_a_repeated_event_after_a_lost_cursor_is_no_first_occurrence(
    database: Database, executor: DatabaseExecutor
) -> None:
    """After a lost cursor, a repeated event is no first occurrence unless it was one before."""
    rules = RuleSet([FirstProxiedSession()])
    newest = 20 * DAY
    record_poll(database, NOW, newest=NOW - newest, swept=NOW - timedelta(minutes=5))
    same = {"actor": {"id": "00u1", "alternateId": "nora@example.com"}}
    first, second = event(1, at=-newest - 7 * DAY, **same), event(2, at=-newest, **same)
    for part in ([first], [second]):
        watch = Watch(org=ORG, rules=rules)
        commit_page(database, watch, page(part), notify=True, advance=lambda *_: None, now=NOW)
    await pruner(executor, rules, ages=SHORT_AGES).round()
    again = Watch(org=ORG, rules=rules)
    commit_page(database, again, page([second]), notify=True, advance=lambda *_: None, now=NOW)
    assert [match["event_uuid"] for match in rows(database, "matches")] == [first.uuid]
