"""Pruning deletes expired rows, and no row that is still needed."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from oktawatch.detection.registry import RuleSet, build_rules
from oktawatch.detection.rules.failed_logins_unknown_user import FailedLoginsUnknownUser
from oktawatch.detection.rules.first_proxied_session import FirstProxiedSession
from oktawatch.detection.rules.multiple_sessions import MultipleSessions
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.engine.pruning import LATE, Ages, Pruner
from oktawatch.engine.routing import Route
from oktawatch.model.cursor import Cursor
from oktawatch.model.event import Event
from oktawatch.model.history import SIGN_IN
from oktawatch.model.rejected import RejectedEvent
from oktawatch.model.timestamps import from_text
from oktawatch.store import tables
from oktawatch.store.backfills import begin_backfill
from oktawatch.store.cursors import mark_swept, move_cursor
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError
from oktawatch.store.page_transaction import page_transaction
from oktawatch.store.pruning import Expiry, count_expired, prune_alerts, prune_events
from tests.support.databases import NOW, ORG, empty, open_database, outcome, rows
from tests.support.places import Kind, place_of
from tests.support.properties import examples
from tests.support.streams import event, page
from tests.support.waiting import eventually
from tests.unit.detection.history_streams import body_of, pages_of, rule_of, streams
from tests.unit.detection.reference import REFERENCE_RULES, Body

OTHER = "other"
DAY = timedelta(days=1)
DEFAULT = build_rules({}, read_file=str)
AGES = Ages(events=30 * DAY, alerts=400 * DAY, sightings=180 * DAY, sweep_window=timedelta(hours=2))
BRIEF = Ages(events=DAY, alerts=400 * DAY, sightings=180 * DAY, sweep_window=timedelta(hours=2))
"""Retentions that are shorter than the rules' windows."""
ALL = build_rules({}, enable=["*"], read_file=str)
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


def pruner(
    executor: DatabaseExecutor,
    rules: RuleSet = ALL,
    *,
    orgs: tuple[str, ...] = (ORG, OTHER),
    ages: Ages = AGES,
    most: int = 3,
    now: datetime = NOW,
) -> Pruner:
    """Create a pruner with the smallest batches."""
    return Pruner(executor, orgs, rules, ages, most=most, pause=timedelta(), now=lambda: now)


def read(
    database: Database,
    *ages: timedelta,
    rules: RuleSet = ALL,
    org: str = ORG,
    rejected: bool = False,
    kind: str = SIGN_IN,
) -> None:
    """Commit a page of events of these ages at the time of the oldest, each of another person."""
    events = [
        event(
            number,
            at=-age,
            eventType=kind,
            actor={"id": f"00u{number}", "alternateId": f"u{number}@example.com"},
            outcome={"result": "SUCCESS"},
        )
        for number, age in ((int(age.total_seconds()), age) for age in ages)
    ]
    commit_page(
        database,
        Watch(org=org, rules=rules, routes=(Route(notifier="soc"),)),
        page(events, rejected=[RejectedEvent("no usable uuid", b"\x00")] if rejected else []),
        notify=True,
        advance=lambda *_: None,
        now=NOW - max(ages),
    )


def until(moment: datetime, rules: RuleSet) -> Expiry:
    """Return an expiry of everything before a point in time."""
    return Expiry(
        org=ORG, events=moment, history=moment, alerts=moment, sightings=moment, served=moment, familiar=moment,
        is_in_history=rules.is_in_history, backfill_look_back=rules.longest_window, backfills_active_since=NOW - DAY,
    )  # fmt: skip


def polled(
    database: Database, until: datetime, *, newest: datetime | None = None, swept: datetime | None = None
) -> None:
    """Record a poll up to a time, with its newest event, and a sweep."""
    began = Cursor(
        filter="",
        query="?",
        began_at=until - 100 * DAY,
        last_published=newest or until,
        last_caught_up_at=until,
    )
    with page_transaction(database, ORG, now=until) as transaction:
        move_cursor(transaction, None, began)
    if swept is not None:
        mark_swept(database, ORG, swept)


def remembered(database: Database) -> list[int]:
    """Return the ages of the events in history, in days."""
    return [round((NOW - row["published"]) / DAY) for row in rows(database, "history")]


async def test_what_has_had_its_time_goes(database: Database, executor: DatabaseExecutor) -> None:
    """Expired rows are deleted with everything that depends on them, and other rows stay."""
    read(database, 401 * DAY, 400 * DAY + timedelta(seconds=1), rejected=True)
    read(database, 400 * DAY, 31 * DAY, 30 * DAY, timedelta())
    polled(database, NOW)
    with database.write() as connection:
        connection.execute(
            insert(tables.notifications),
            [
                {"id": f"{kind}-{state}-{age}", "notifier": "soc", "kind": kind, "state": state, "attempts": 0,
                 "created_at": NOW - age * DAY, "late": False}
                for kind, state, age in (
                    ("digest", "sent", 401), ("digest", "sent", 399), ("silence", "pending", 401), ("test", "dead", 401),
                )
            ],
        )  # fmt: skip
        connection.execute(
            insert(tables.alert_actions),
            [
                {"alert_id": alert_id, "at": NOW, "by": "nora", "action": "noted"}
                for alert_id in connection.execute(select(tables.alerts.c.id)).scalars()
            ],
        )
        for age, finished in ((31, 31), (29, 29), (31, None)):
            at = NOW - age * DAY
            connection.execute(
                insert(tables.backfills).values(
                    org=ORG, command="backfill", filter="", since=at, until=at, notify=False, cursor="?",
                    started_at=at, updated_at=at, finished_at=None if finished is None else at,
                    pages=0, events=0, new_events=0, matches=0, alerts=0,
                )
            )  # fmt: skip
    before = outcome(database)
    counted = await pruner(executor).count()
    assert outcome(database) == before
    deleted = await pruner(executor).round()
    assert deleted == counted
    assert deleted == {
        "alerts": 4, "matches": 4, "notifications": 6, "alert_actions": 4, "events": 4, "rejected_events": 1,
        "backfills": 2, "sightings": 3,
    }  # fmt: skip
    assert {name: len(rows(database, name)) for name in deleted} == {
        "alerts": 8, "matches": 8, "notifications": 10, "alert_actions": 8, "events": 2, "rejected_events": 0,
        "backfills": 1, "sightings": 3,
    }  # fmt: skip
    after = outcome(database)
    assert all(row in before[name] for name, kept in after.items() for row in kept)
    assert {match["alert"] for match in after["matches"]} == {
        (alert["rule_id"], alert["dedup_key"], alert["anchor"]) for alert in after["alerts"]
    }
    assert (await pruner(executor).round()) == {}


async def test_every_status_goes(database: Database, executor: DatabaseExecutor) -> None:
    """Expired alerts of any status are deleted."""
    read(database, *((401 + n) * DAY for n in range(4)), rules=build_rules({}, read_file=str))
    for alert, status in zip(
        rows(database, "alerts"), ("open", "acknowledged", "closed", "pending"), strict=True
    ):
        with database.write() as connection:
            changed = update(tables.alerts).where(tables.alerts.c.id == alert["id"])
            connection.execute(changed.values(status=status))
    assert (await pruner(executor).round())["alerts"] == 4


async def test_an_alert_with_many_matches_goes_last(database: Database) -> None:
    """A crash while pruning an alert leaves it with fewer matches, but never a match without its alert."""
    empty(database)
    rules = build_rules({}, read_file=str)
    events = [event(number, at=-401 * DAY + timedelta(minutes=number)) for number in range(7)]
    watch = Watch(org=ORG, rules=rules, routes=(Route(notifier="soc"),))
    commit_page(database, watch, page(events), notify=True, advance=lambda *_: None, now=NOW - 401 * DAY)
    expiry = until(NOW - AGES.alerts, rules)
    seen = []
    more = True
    while more:
        more = prune_alerts(database, expiry, 3).more
        seen.append(tuple(len(rows(database, name)) for name in ("matches", "notifications", "alerts")))
    assert seen == [(4, 1, 1), (1, 1, 1), (0, 0, 0)]


async def test_history_is_kept_as_long_as_the_rules_look_back(
    database: Database, executor: DatabaseExecutor
) -> None:
    """History is kept for the longest window before the earliest event that can still arrive."""
    polled(database, NOW, swept=NOW - 2 * DAY)
    ages = [timedelta(days=days) for days in range(14, -1, -1)]
    read(database, *ages)
    await pruner(executor, ages=BRIEF).round()
    assert remembered(database) == list(range(10, -1, -1))
    await pruner(executor, RuleSet([MultipleSessions()]), ages=BRIEF).round()
    assert remembered(database) == list(range(3, -1, -1))
    await pruner(executor, build_rules({}, read_file=str), ages=BRIEF).round()
    assert remembered(database) == [1, 0]


async def test_what_rules_do_not_need_is_kept_as_long_as_the_operator_says(
    database: Database, executor: DatabaseExecutor
) -> None:
    """History that no rule needs is kept for `retention.events`."""
    polled(database, NOW)
    read(database, 31 * DAY, 30 * DAY, 20 * DAY)
    await pruner(executor).round()
    assert remembered(database) == [30, 20]


async def test_a_rule_that_can_not_be_used_keeps_all_history(
    database: Database, executor: DatabaseExecutor
) -> None:
    """While a rule can't be used, no history is deleted."""
    polled(database, NOW)
    read(database, 89 * DAY)
    await pruner(executor, RuleSet([MultipleSessions()], complete=False), ages=BRIEF).round()
    assert remembered(database) == [89]
    await pruner(executor, RuleSet([MultipleSessions()]), ages=BRIEF).round()
    assert remembered(database) == []


async def test_what_was_not_read_for_long_keeps_its_history(
    database: Database, executor: DatabaseExecutor
) -> None:
    """An org that was not read for long keeps the history since its last poll, within Okta's retention."""
    polled(database, NOW - 50 * DAY)
    read(database, 100 * DAY, 59 * DAY, 58 * DAY, 57 * DAY, 50 * DAY)
    await pruner(executor, ages=BRIEF).round()
    assert remembered(database) == [58, 57, 50]
    with database.write() as connection:
        connection.execute(update(tables.cursors).values(last_caught_up_at=NOW - 500 * DAY))
    read(database, 100 * DAY, 98 * DAY)
    await pruner(executor, ages=BRIEF).round()
    assert remembered(database) == [98, 58, 57, 50]


async def test_a_backfill_under_way_keeps_its_history(database: Database, executor: DatabaseExecutor) -> None:
    """A running backfill keeps the history it needs, which is pruned after its end."""
    polled(database, NOW)
    since = NOW - 60 * DAY
    begin_backfill(
        database, ORG, command="backfill --since 60d", filter="", since=since, until=NOW, notify=False, query="?", now=NOW,
    )  # fmt: skip
    read(database, 69 * DAY, 60 * DAY, 30 * DAY)
    await pruner(executor, ages=BRIEF).round()
    assert remembered(database) == [60, 30]
    # It was interrupted and not resumed.
    await pruner(executor, now=NOW + 2 * DAY, ages=BRIEF).round()
    assert remembered(database) == []


def test_a_backfill_that_begins_meanwhile_keeps_its_history(database: Database) -> None:
    """A backfill that begins between two batches keeps the history that it reads."""
    empty(database)
    rules = RuleSet([FirstProxiedSession()])
    expiry = until(NOW, rules)
    read(database, 70 * DAY, 69 * DAY, rules=rules)
    assert prune_events(database, expiry, 1).rows["events"] == 1
    begin_backfill(
        database, ORG, command="backfill --since 60d", filter="", since=NOW - 60 * DAY, until=NOW, notify=False, query="?",
        now=NOW,
    )  # fmt: skip
    read(database, 60 * DAY, 50 * DAY, rules=rules)
    assert prune_events(database, expiry, 10).rows["events"] == 1
    assert remembered(database) == [60, 50]
    assert count_expired(database, expiry)["events"] == 0


async def test_orgs_that_nobody_watches_any_more(database: Database, executor: DatabaseExecutor) -> None:
    """Orgs that are not configured are pruned, except those of another replica."""
    for org in (ORG, OTHER):
        read(database, 401 * DAY, org=org, rules=build_rules({}, read_file=str))
    with database.write() as connection:
        names = tables.orgs.c.name
        connection.execute(
            update(tables.orgs).where(names == OTHER).values(last_poll_at=NOW - timedelta(hours=1))
        )
        connection.execute(update(tables.orgs).where(names == ORG).values(last_poll_at=NOW - 2 * DAY))
        for org, age in ((ORG, 29), (OTHER, 31)):
            lease = {"org": org, "holder": None, "expires_at": NOW - age * DAY}
            connection.execute(insert(tables.leases).values(lease))
    try:
        nobody = pruner(executor, orgs=())
        assert (await nobody.round(holds=lambda _org: False))["leases"] == 1
        assert [alert["org"] for alert in rows(database, "alerts")] == [OTHER]
        assert [lease["org"] for lease in rows(database, "leases")] == [ORG]
        await pruner(executor, orgs=(ORG, OTHER)).round(holds=lambda org: org != OTHER)
        assert [alert["org"] for alert in rows(database, "alerts")] == [OTHER]
        await pruner(executor, orgs=(ORG, OTHER)).round(holds=lambda org: org == OTHER)
        assert rows(database, "alerts") == []
    finally:
        with database.write() as connection:
            connection.execute(update(tables.orgs).values(last_poll_at=None))


async def test_an_old_org_does_not_warm_up_again(database: Database, executor: DatabaseExecutor) -> None:
    """An org whose history is completely pruned still counts as old."""
    polled(database, NOW)
    read(database, 40 * DAY, 39 * DAY)
    await pruner(executor, ages=BRIEF).round()
    assert remembered(database) == []
    read(database, timedelta())
    warm = {alert["anchor"]: alert["context"].get("warmup") for alert in first_seen_alerts(database)}
    assert warm == {NOW - 40 * DAY: True, NOW - 39 * DAY: True, NOW: None}


async def test_what_was_turned_off_warms_up_anew(database: Database, executor: DatabaseExecutor) -> None:
    """If no rule uses an event type any more, an org counts as new for it after pruning, except for sign-ins."""
    polled(database, NOW)
    sso = "user.authentication.sso"
    read(database, 40 * DAY, kind=sso)
    await pruner(executor, ages=BRIEF).round()
    assert [row["event_type"] for row in rows(database, "pruned_history")] == [sso]
    read(database, 39 * DAY, rules=DEFAULT, org=OTHER)
    await pruner(executor, DEFAULT, ages=BRIEF).round()
    assert [(row["org"], row["event_type"]) for row in rows(database, "pruned_history")] == [(OTHER, SIGN_IN)]
    read(database, timedelta(), kind=sso)
    assert first_seen_alerts(database)[-1]["context"]["warmup"]


async def test_a_past_that_is_gone_is_warming_up(database: Database, executor: DatabaseExecutor) -> None:
    """A backfill of a time range whose history was pruned treats the org as new."""
    polled(database, NOW)
    read(database, 60 * DAY)
    await pruner(executor, ages=BRIEF).round()
    read(database, 50 * DAY)
    assert first_seen_alerts(database)[-1]["context"]["warmup"]


def first_seen_alerts(database: Database) -> list[dict[str, Any]]:
    """Return the alerts of first proxied sessions, in order of time."""
    found = [alert for alert in rows(database, "alerts") if alert["rule_id"] == FirstProxiedSession.id]
    return sorted(found, key=lambda alert: alert["anchor"])


def committed(database: Database, watch: Watch, bodies: list[Body]) -> None:
    """Commit a page."""
    sent = page([Event.from_body(body) for body in bodies])
    commit_page(database, watch, sent, notify=True, advance=lambda *_: None, now=NOW)


def law(database: Database, rule_id: str, data: st.DataObject) -> None:
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
            committed(database, watch, part)
        if pruned and after:
            earliest = min(from_text(body["published"]) for body in after)
            expiry = until(earliest - rules.longest_window, rules)
            for _ in range(pieces):
                if not prune_events(database, expiry, most).more:
                    break
            if starts_anew:
                watch = Watch(org=ORG, rules=rules)
        for part in pages[1]:
            committed(database, watch, part)
        return compared(database)

    assert run(pruned=True) == run(pruned=False)


@pytest.mark.parametrize("rule_id", [*REFERENCE_RULES, FirstProxiedSession.id])
@settings(properties, max_examples=examples(40))
@given(data=st.data())
def test_pruning_changes_no_later_match(file: Database, rule_id: str, data: st.DataObject) -> None:
    """Pruning before the window of the earliest future event changes no match, alert or warm-up."""
    law(file, rule_id, data)


@pytest.mark.parametrize("rule_id", [*REFERENCE_RULES, FirstProxiedSession.id])
@settings(properties, max_examples=examples(5))
@given(data=st.data())
def test_pruning_changes_no_later_match_on_a_server(
    database: Database, rule_id: str, data: st.DataObject
) -> None:
    """Pruning changes no later match on Postgres either."""
    law(database, rule_id, data)


def compared(database: Database) -> dict[str, Any]:
    """Return everything that must not depend on pruning."""
    kept = outcome(database)
    del kept["events"], kept["signals"]
    for alert in kept["alerts"]:
        alert["context"] = {key: alert["context"].get(key) for key in ("evidence", "warmup", "event_type")}
    return kept


def test_one_event_too_many_is_noticed(database: Database) -> None:
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
        committed(database, Watch(org=ORG, rules=rules), bodies[:2])
        cut = from_text(bodies[2]["published"]) - window + late
        prune_events(database, until(cut, rules), 10)
        committed(database, Watch(org=ORG, rules=rules), bodies[2:])
        assert len(rows(database, "matches")) == matches


async def test_it_keeps_what_late_events_need(database: Database, executor: DatabaseExecutor) -> None:
    """A sweep after pruning finds the same matches as without pruning."""
    rules = RuleSet([FirstProxiedSession()])
    swept = NOW - timedelta(hours=3)
    polled(database, NOW, swept=swept)
    latest = swept - AGES.sweep_window - LATE
    watch = Watch(org=ORG, rules=rules)
    same = {"actor": {"id": "00u1", "alternateId": "nora@example.com"}}
    first = page([event(1, at=latest - rules.longest_window - NOW, **same)])
    commit_page(database, watch, first, notify=True, advance=lambda *_: None, now=NOW)
    await pruner(executor, rules, ages=BRIEF).round()
    late = page([event(2, at=latest - NOW, **same)])
    commit_page(database, Watch(org=ORG, rules=rules), late, notify=True, advance=lambda *_: None, now=NOW)
    assert len(rows(database, "matches")) == 1


async def test_a_quiet_org_that_is_read_anew(database: Database, executor: DatabaseExecutor) -> None:
    """After a lost cursor, a repeated event is no first occurrence unless it was one before."""
    rules = RuleSet([FirstProxiedSession()])
    newest = 20 * DAY
    polled(database, NOW, newest=NOW - newest, swept=NOW - timedelta(minutes=5))
    same = {"actor": {"id": "00u1", "alternateId": "nora@example.com"}}
    first, second = event(1, at=-newest - 7 * DAY, **same), event(2, at=-newest, **same)
    for part in ([first], [second]):
        watch = Watch(org=ORG, rules=rules)
        commit_page(database, watch, page(part), notify=True, advance=lambda *_: None, now=NOW)
    await pruner(executor, rules, ages=BRIEF).round()
    again = Watch(org=ORG, rules=rules)
    commit_page(database, again, page([second]), notify=True, advance=lambda *_: None, now=NOW)
    assert [match["event_uuid"] for match in rows(database, "matches")] == [first.uuid]


async def test_pages_and_two_who_prune_at_once(database: Database, executor: DatabaseExecutor) -> None:
    """Pages and two concurrent pruners don't deadlock, and delete the same rows as one pruner."""
    ages = [timedelta(days=900 - number) for number in range(400)]
    for start in range(0, len(ages), 50):
        read(database, *ages[start : start + 50])
    polled(database, NOW)
    other = DatabaseExecutor(database.url.render_as_string(hide_password=False))
    again = DatabaseExecutor(database.url.render_as_string(hide_password=False))
    expected = await pruner(executor).count()

    async def pages() -> None:
        for number in itertools.chain(range(20), range(20)):
            sent = page(
                [event(1000 + number, at=-number * timedelta(minutes=1)), event(number, at=-ages[number])]
            )
            await again.run(
                commit_page, Watch(org=ORG, rules=ALL), sent, notify=True, advance=lambda *_: None, now=NOW
            )

    try:
        first, second, _ = await asyncio.gather(
            pruner(executor, most=20).round(), pruner(other, most=7).round(), pages()
        )
        await pruner(executor).round()
    finally:
        other.close()
        again.close()
    assert all((first + second)[name] >= expected[name] for name in ("alerts", "matches", "events"))
    assert (await pruner(executor).count()) == {}
    kept = {name: len(rows(database, name)) for name in ("signals", "events")}
    assert kept == {"signals": 0, "events": 20}
    alerts = {alert["id"] for alert in rows(database, "alerts")}
    assert {match["alert_id"] for match in rows(database, "matches")} == alerts


async def test_it_stops_between_two_pieces(database: Database, executor: DatabaseExecutor) -> None:
    """A stop waits only for the current batch, which is committed."""
    read(database, *(timedelta(days=500 + number) for number in range(60)))
    task = asyncio.create_task(pruner(executor, most=1).round())
    await eventually(lambda: len(rows(database, "alerts")) < 120)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert 0 < len(rows(database, "alerts")) < 120
    await pruner(executor).round()
    assert rows(database, "alerts") == []


async def test_trouble_is_a_store_error(database: Database, executor: DatabaseExecutor) -> None:
    """A failure of the database while pruning raises StoreError."""
    executor.stop()
    read(database, 500 * DAY)
    with pytest.raises(StoreError):
        await pruner(executor).round()


def test_a_file_takes_up_again_what_was_given_free(tmp_path: Any) -> None:
    """SQLite reuses the space of pruned rows, so that the file doesn't grow."""
    with place_of(Kind.SQLITE, tmp_path) as place, open_database(place) as database:

        def fill(first: int) -> int:
            for start in range(0, 6_000, 1_000):
                sent = page([event(first + start + n, at=first * DAY) for n in range(1_000)])
                commit_page(
                    database, Watch(org=ORG, rules=ALL), sent, notify=False, advance=lambda *_: None, now=NOW
                )
            with database.read() as connection:
                return int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())

        size = fill(-400_000)
        with database.read() as connection:
            free = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
        assert free < size / 10
        executor = DatabaseExecutor(place.url)
        try:
            asyncio.run(pruner(executor, most=2_000).round())
        finally:
            executor.close()
        assert fill(0) <= size * 1.02
