"""An export finds exactly what has changed since the last one."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import event as sql_event

from oktawatch.detection.registry import build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.store.alerts import AlertFilter, alert_ids
from oktawatch.store.database import Database
from oktawatch.store.export import MOST_EVENTS, export_alerts, last_changes
from oktawatch.store.orgs import lock_org, next_change
from oktawatch.store.schema import downgrade, upgrade
from oktawatch.store.triage import Action, Decision
from tests.support.databases import NOW, ORG, empty, open_database
from tests.support.places import Kind, Place, place_of
from tests.support.streams import body, event, page
from tests.support.triage import decide

RULES = build_rules({}, read_file=str)
OTHER = "other"


def commit(database: Database, org: str, *numbers: int, person: str = "00u1") -> None:
    """Commit a page of sign-ins of one person at noon."""
    events = [event(number, actor={"id": person}) for number in numbers]
    commit_page(
        database, Watch(org=org, rules=RULES), page(events), notify=False, advance=lambda *_: None, now=NOW
    )


def exported(database: Database, changes: dict[str, int]) -> list[int]:
    """Return the ids of the alerts that have changed."""
    after = {org: changes.get(org, -1) for org in last_changes(database)}
    return [alert["id"] for alert in export_alerts(database, AlertFilter(changed_after=after))]


def test_an_alert_is_exported_with_its_events(place: Place) -> None:
    """The events come in order of time, and only the first hundred of many."""
    with open_database(place) as database:
        commit(database, ORG, *range(MOST_EVENTS + 5))
        commit(database, ORG, 1000, person="00u2")
        first, second = export_alerts(database, AlertFilter())
    assert (first["event_count"], len(first["events"])) == (MOST_EVENTS + 5, MOST_EVENTS)
    assert first["events"][3]["event_uuid"] == body(3)["uuid"]
    assert first["events"][3].keys() == {
        "event_uuid", "published", "event_type", "outcome", "outcome_reason", "client_ip", "user_agent",
    }  # fmt: skip
    assert [one["event_uuid"] for one in second["events"]] == [body(1000)["uuid"]]


def test_alerts_are_read_in_batches(tmp_path: Path) -> None:
    """Reading the first alert reads a part of the alerts, so that memory does not grow with their number."""
    read: list[Any] = []
    with place_of(Kind.SQLITE, tmp_path) as place, open_database(place) as database:
        events = [event(number, actor={"id": f"00u{number}"}) for number in range(450)]
        watch = Watch(org=ORG, rules=RULES)
        commit_page(database, watch, page(events), notify=False, advance=lambda *_: None, now=NOW)
        sql_event.listen(
            database._engine,
            "before_cursor_execute",
            lambda *given: read.append(given) if "alerts.context" in given[2] else None,
        )
        alerts = export_alerts(database, AlertFilter())
        next(alerts)
        assert len(read) == 1
        assert len(list(alerts)) == 449
        assert len(read) == 3


def test_a_late_commit_is_not_missed(place: Place) -> None:
    """A page that began before an export and commits after it is in the next export, even if another org's change was exported before."""
    with open_database(place, OTHER) as database:
        commit(database, ORG, 1)
        with database.write() as connection:
            lock_org(database, connection, ORG)
            late = next_change(connection, ORG, now=NOW + timedelta(seconds=1))
            if place.kind is Kind.POSTGRES:  # SQLite has one writer at a time
                commit_page(
                    database,
                    Watch(org=OTHER, rules=RULES),
                    page([event(2)]),
                    notify=False,
                    advance=lambda *_: None,
                    now=NOW + timedelta(seconds=2),
                )
            changes = last_changes(database)
            seen = exported(database, {})
            connection.exec_driver_sql(f"UPDATE alerts SET change_id = {late} WHERE id = 1")  # noqa: S608 -- a number
        assert 1 in seen
        assert exported(database, changes) == [1]
        assert exported(database, last_changes(database)) == []


def test_change_numbers_never_decrease(place: Place) -> None:
    """Neither a slow clock nor a restored backup repeats a number that an export has seen."""
    with open_database(place) as database:
        commit(database, ORG, 1)
        before = last_changes(database)
        with database.write() as connection:
            lock_org(database, connection, ORG)
            slow = next_change(connection, ORG, now=NOW - timedelta(days=1))
        assert slow == before[ORG] + 1
        place.run("UPDATE orgs SET alert_change_id = 0")
        with database.write() as connection:
            lock_org(database, connection, ORG)
            restored = next_change(connection, ORG, now=NOW + timedelta(seconds=1))
        assert restored > slow


def test_an_incremental_export_uses_an_index(tmp_path: Path) -> None:
    """An incremental export does not read every alert, which would be slow, because each row contains an event."""
    statements: list[tuple[str, Any]] = []
    with place_of(Kind.SQLITE, tmp_path) as place, open_database(place) as database:
        commit(database, ORG, 1)
        sql_event.listen(
            database._engine, "before_cursor_execute", lambda *given: statements.append((given[2], given[3]))
        )
        assert alert_ids(database, AlertFilter(changed_after={ORG: 0, OTHER: 5})) == [1]
        with database.read() as connection:
            statement, values = next(one for one in statements if "SELECT alerts.id" in one[0])
            plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all())
    assert "ix_alerts_org_change_id (org=? AND change_id>?)" in plan


def test_an_upgrade_keeps_alerts(place: Place) -> None:
    """Alerts from before the column existed are exported once, and again when they change."""
    with open_database(place) as database:
        commit(database, ORG, 1)
        downgrade(database, "0020")
        upgrade(database)
        assert exported(database, {}) == [1]
        changes = last_changes(database)
        assert changes == {ORG: 0}
        assert exported(database, changes) == []
        commit(database, ORG, 2)
        assert exported(database, changes) == [1]


@pytest.fixture(scope="module")
def shared(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Yield a database for all examples."""
    with (
        place_of(kind, tmp_path_factory.mktemp("shared")) as place,
        open_database(place, OTHER) as database,
    ):
        yield database


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.sampled_from([ORG, OTHER]), st.sampled_from(["00u1", "00u2"])),
            st.sampled_from(["note", "export"]),
        ),
        max_size=12,
    )
)
@example(steps=[(ORG, "00u1"), (OTHER, "00u1"), "export", "note", "export", "export", (ORG, "00u1")])
@example(steps=[(ORG, "00u1"), "export", (OTHER, "00u1"), "note", "export", (ORG, "00u2"), "note"])
def test_every_change_is_exported_once(shared: Database, steps: list[Any]) -> None:
    """Every change of an alert is in the next export, and not in the one after it."""
    empty(shared)
    changes: dict[str, int] = {}
    expected: set[int] = set()
    alerts: dict[tuple[str, str], int] = {}
    for number, step in enumerate([*steps, "export"]):
        if step == "export":
            following = last_changes(shared)
            assert set(exported(shared, changes)) == expected
            changes, expected = following, set()
        elif step == "note":
            note = Decision(action=Action.NOTED, by="nora", note="x")
            decide(shared, list(alerts.values())[-1:], note, now=NOW)
            expected.update(list(alerts.values())[-1:])
        else:
            org, person = step
            commit(shared, org, number, person=person)
            latest = alert_ids(shared, AlertFilter())[-1]
            expected.add(alerts.setdefault(step, latest))
