"""docs/database.md lists the existing tables, and its query works."""

import re
from datetime import timedelta
from pathlib import Path

from oktawatch.detection.registry import build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.store import tables
from tests.support.databases import NOW, ORG, VIEWS, open_database
from tests.support.places import Kind, place_of
from tests.support.streams import event, page

DOCUMENT = Path(__file__).parents[3] / "docs" / "database.md"


def test_every_table_is_documented() -> None:
    """docs/database.md names exactly the tables of the schema."""
    text = DOCUMENT.read_text("utf-8")
    table, _, others = text.partition("The other tables (")
    named = [
        name
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    ]
    named += re.findall(r"`(\w+)`", others.partition(")")[0])
    assert sorted(named) == sorted(
        [*tables.metadata.tables, "alert_events", "open_alerts", "daily_alerts", *VIEWS, "alembic_version"]
    )


def documented_query(part: str) -> str:
    """Return the only documented query that contains a text."""
    queries = re.findall(r"^```sql\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (found,) = [query for query in queries if part in query]
    return str(found)


def test_the_query_finds_people_with_a_success_after_failures(tmp_path: Path) -> None:
    """The query finds only people with failures before their success."""
    query = documented_query("WHERE risen")
    nora, eve, abel = ({"id": one, "alternateId": f"{one}@example.com"} for one in ("00u1", "00u2", "00u3"))
    won, lost, minute = {"result": "SUCCESS"}, {"result": "FAILURE"}, timedelta(minutes=1)
    events = [
        event(1, actor=nora, outcome=lost),
        event(2, actor=eve, outcome=won),
        event(3, actor=abel, outcome=lost),
        event(4, at=minute, actor=nora, outcome=won),
    ]
    with place_of(Kind.SQLITE, tmp_path) as place, open_database(place) as database:
        watch = Watch(org=ORG, rules=build_rules({}, read_file=str))
        commit_page(database, watch, page(events), notify=False, advance=lambda *_: None, now=NOW)
        found = place.ask(query)
    assert found == [(1, "2026-11-02T12:01:00.000Z", "HIGH", "00u1@example.com", "203.0.113.7", 1)]


def test_the_query_finds_sign_ins_after_an_alert(tmp_path: Path) -> None:
    """The query finds only the person's successful sign-ins within the time limit."""
    query = documented_query("JOIN signals")
    rules = build_rules({}, enable=["Okta.Login.*", "Okta.Multiple.*"], read_file=str)
    minute = timedelta(minutes=1)
    nora, eve = ({"id": one, "alternateId": f"{one}@example.com"} for one in ("00u1", "00u2"))
    won, lost, direct = {"result": "SUCCESS"}, {"result": "FAILURE"}, {"isProxy": False}
    events = [
        event(1, actor=nora, outcome=lost),
        event(2, at=4 * minute, actor=nora, outcome=lost, securityContext=direct),
        event(3, at=5 * minute, actor=nora, outcome=won, securityContext=direct),
        event(4, at=6 * minute, actor=eve, outcome=won, securityContext=direct),
        event(5, at=11 * minute, actor=nora, outcome=won, securityContext=direct),
    ]
    with place_of(Kind.SQLITE, tmp_path) as place, open_database(place) as database:
        watch = Watch(org=ORG, rules=rules)
        commit_page(database, watch, page(events), notify=False, advance=lambda *_: None, now=NOW)
        found = place.ask(query)
    assert [(row[0], row[2]) for row in found] == [(1, "2026-11-02T12:05:00.000Z")]


def test_the_query_finds_addresses_of_several_people(tmp_path: Path) -> None:
    """The documented query finds addresses of several people, ignoring unknown logins."""
    query = documented_query("FROM sightings")
    events = [
        event(1, actor={"id": "00u1"}, outcome={"result": "SUCCESS"}),
        event(2, actor={"id": "00u2"}, outcome={"result": "FAILURE"}),
        event(3, actor={"id": "unknown", "alternateId": "nobody"}, client={"ipAddress": "198.51.100.9"}),
        event(4, actor={"id": "00u1"}, client={"ipAddress": "198.51.100.9"}),
    ]
    with place_of(Kind.SQLITE, tmp_path) as place, open_database(place) as database:
        watch = Watch(org=ORG, rules=build_rules({}, read_file=str))
        commit_page(database, watch, page(events), notify=False, advance=lambda *_: None, now=NOW)
        assert place.ask(query) == [("203.0.113.7", 2, 1, 1)]
