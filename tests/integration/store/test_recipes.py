"""The SQL recipes, the views and Datasette's configuration work on a database with everything in it."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasette.app import Datasette

from oktawatch.detection.registry import build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.engine.routing import Route
from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.triage import Action, Decision
from tests.support.databases import NOW, ORG, VIEWS, open_database
from tests.support.places import Kind, Place, place_of
from tests.support.streams import event, page
from tests.support.triage import decide

CONFIG = Path(__file__).parents[3] / "config"
RECIPES = sorted((CONFIG / "sql").glob("*.sql"))
HOUR = timedelta(hours=1)
WON, LOST = {"result": "SUCCESS"}, {"result": "FAILURE"}


def fill(database: Database) -> None:
    """Insert alerts of four people at one address, decide about some, fail to notify, and allow a match."""
    rules = build_rules({}, read_file=str)
    events = [
        event(
            10 * person + number,
            at=number * HOUR * 7,
            actor={"id": f"00u{person}", "alternateId": f"q{person}@example.com"},
            client={
                "ipAddress": "203.0.113.7",
                "geographicalContext": {"country": ("Norway", "Chile")[number % 2]},
            },
            securityContext={"isProxy": True, "asNumber": 64500, "asOrg": "Example Net"},
            outcome=(LOST, WON)[number % 2],
        )
        for person in range(4)
        for number in range(4)
    ]
    # Earlier failures in the same alert as a success, and a sign-in from another country and address.
    events += [
        event(100, actor={"id": "00u0", "alternateId": "q0@example.com"}, outcome=WON, at=HOUR),
        event(
            101,
            at=9 * HOUR,
            actor={"id": "00u0", "alternateId": "q0@example.com"},
            client={"ipAddress": "198.51.100.9", "geographicalContext": {"country": "Peru"}},
            securityContext={"isProxy": False},
            outcome=WON,
        ),
    ]  # fmt: skip
    watch = Watch(org=ORG, rules=rules, routes=(Route(notifier="soc", min_severity=rules.rules[0].severity),))
    commit_page(database, watch, page(events), notify=True, advance=lambda *_: None, now=NOW)
    for alert_id, disposition in ((1, "true_positive"), (2, "benign"), (3, "false_positive")):
        closing = Decision(action=Action.CLOSED, by="nora", disposition=disposition)
        decide(database, [alert_id], closing, now=NOW + 90 * timedelta(minutes=1))
    with database.write() as connection:
        connection.execute(
            tables.notifications.update().values(state="dead", attempts=6, last_error="status 410")
        )
        allowed = {
            "org": ORG, "rule_id": "Okta.Anonymizing.VPN.Login", "event_uuid": "allowed", "published": NOW,
            "entry": "London office", "reason": "egress", "actor_alternate_id": "q9@example.com", "client_ip": "203.0.113.9",
        }  # fmt: skip
        connection.execute(tables.allowed_matches.insert(), allowed)


@pytest.fixture(scope="module")
def filled(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Yield a filled database."""
    with place_of(kind, tmp_path_factory.mktemp("filled")) as place, open_database(place) as database:
        fill(database)
        yield place


def ask(place: Place, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query without its semicolon, as text like a person sees them."""
    return [tuple(map(str, row)) for row in place.ask(query)]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_finds_something(filled: Place, recipe: Path) -> None:
    """Each recipe begins with a comment that says what it finds, and finds it on its databases."""
    text = recipe.read_text("utf-8")
    assert re.match(r"-- [A-Z].*[.:]", text)
    assert text.endswith(";\n")
    assert text.count(";") == 1
    _, *dialect = recipe.stem.split(".")
    if not dialect or dialect == [filled.kind]:
        assert filled.ask(text)


def recipe(name: str) -> str:
    """Return a recipe."""
    return (CONFIG / "sql" / f"{name}.sql").read_text("utf-8")


def test_precision_is_the_share_of_true_positives(filled: Place) -> None:
    """One of three judged alerts was a true positive."""
    ((_, _, _, *counts),) = ask(filled, recipe("precision_by_rule"))
    assert counts == ["1", "1", "1", "33"]


def test_time_to_triage_is_measured_from_creation(filled: Place) -> None:
    """Three alerts were decided an hour and a half after they were created."""
    rows = ask(filled, recipe(f"time_to_triage.{filled.kind}"))
    assert sum(int(row[2]) for row in rows) == 3
    assert {row[3] for row in rows if row[2] != "0"} == {"1.5"}


def test_people_and_addresses(filled: Place) -> None:
    """The address of four people, their first anonymizer and what was new for one of them."""
    (shared,) = ask(filled, recipe("shared_addresses"))
    assert (shared[1], shared[5]) == ("203.0.113.7", "4")
    assert {row[1] for row in ask(filled, recipe("first_anonymizer_use"))} == {
        f"q{n}@example.com" for n in range(4)
    }
    assert [row[1:3] for row in ask(filled, recipe("new_countries"))] == [("q0@example.com", "Peru")]
    assert {row[2] for row in ask(filled, recipe("got_in_through_an_anonymizer"))} == {"203.0.113.7"}


def test_views(filled: Place) -> None:
    """Open alerts are those that nobody closed, and the days add up to all alerts."""
    ((closed,),) = filled.ask("SELECT count(*) FROM alerts WHERE status = 'closed'")
    ((alerts, events),) = filled.ask("SELECT count(*), sum(event_count) FROM alerts")
    assert filled.ask("SELECT count(*) FROM open_alerts") == [(alerts - closed,)]
    ((in_days, of_events),) = filled.ask("SELECT sum(alerts), sum(events) FROM daily_alerts")
    assert (int(in_days), int(of_events)) == (alerts, events)
    assert ask(filled, "SELECT DISTINCT day FROM daily_alerts ORDER BY day") == [
        ("2026-11-02",),
        ("2026-11-03",),
    ]


def metadata() -> dict[str, Any]:
    """Return Datasette's metadata."""
    found: dict[str, Any] = yaml.safe_load((CONFIG / "datasette.yaml").read_text("utf-8"))
    return found


def test_datasette_has_every_recipe() -> None:
    """The canned queries are the recipes for SQLite with their comments."""
    queries = metadata()["databases"]["oktawatch"]["queries"]
    expected = {}
    for file in RECIPES:
        name, *dialect = file.stem.split(".")
        if dialect != [Kind.POSTGRES]:
            lines = file.read_text("utf-8").splitlines()
            expected[name] = "\n".join(line for line in lines if not line.startswith("--"))
    assert {name: query["sql"] for name, query in queries.items()} == expected


def test_datasette_names_every_table() -> None:
    """A new table is described or hidden."""
    named = metadata()["databases"]["oktawatch"]["tables"]
    views = {*VIEWS, "alert_events", "open_alerts", "daily_alerts"}
    assert named.keys() == {*tables.metadata.tables, *views, "alembic_version"}


async def test_datasette_serves_a_database(tmp_path: Path) -> None:
    """Datasette serves the tables and queries of the metadata, and hides internal tables."""
    with place_of(Kind.SQLITE, tmp_path) as place:
        with open_database(place) as database:
            fill(database)
        datasette = Datasette([str(place.file)], metadata=metadata())
        await datasette.invoke_startup()
        listed = (await datasette.client.get("/oktawatch.json")).json()
        assert "open_alerts" in {view["name"] for view in listed["views"]}
        assert {table["name"] for table in listed["tables"] if not table["hidden"]} >= {"alerts", "sightings"}
        assert not {table["name"] for table in listed["tables"] if not table["hidden"]} & {
            "cursors",
            "events",
        }
        for query in listed["queries"]:
            answer = (await datasette.client.get(f"/oktawatch/{query['name']}.json?_shape=array")).json()
            assert answer, query["name"]
        for name in ("alerts", "open_alerts", "sightings", "daily_alerts"):
            shown = await datasette.client.get(f"/oktawatch/{name}")
            assert shown.status_code == 200
