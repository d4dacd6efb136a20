"""Alerts are found by address and by person through indexes, on both databases."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from sqlalchemy import event as sql_event

from oktawatch.detection.registry import build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.store.alerts import AlertFilter, count_alerts, list_alerts
from oktawatch.store.database import Database
from tests.support.databases import NOW, ORG, open_database
from tests.support.places import Kind, Place, place_of
from tests.support.streams import event, page

ADDRESSES = (
    "203.0.113.7",
    "203.0.113.70",
    "203.0.11.37",
    "20.3.0.113",
    "2001:db8::7",
    "2001:0db8:0:0:0:0:0:7",
    "x.y:z",
)


def fill(database: Database) -> None:
    """Insert an alert of a different person for each address."""
    events = [
        event(number, actor={"id": f"00u{number}"}, client={"ipAddress": address})
        for number, address in enumerate(ADDRESSES)
    ]
    watch = Watch(org=ORG, rules=build_rules({}, read_file=str))
    commit_page(database, watch, page(events), notify=False, advance=lambda *_: None, now=NOW)


def is_in(address: str, network: Any) -> bool:
    """Return whether a text is an address in a network."""
    return address != "x.y:z" and ip_address(address) in network


def test_alerts_of_networks(place: Place) -> None:
    """A network has just its addresses, however they are written, and a limit cuts the list but not the count."""
    with open_database(place) as database:
        fill(database)
        for text in (
            "203.0.113.7",
            "203.0.113.0/24",
            "203.0.0.0/17",
            "0.0.0.0/0",
            "2001:db8::7",
            "::/0",
            "20.0.0.0/7",
        ):
            network = ip_network(text)
            wanted = AlertFilter(networks=[network])
            expected = {address for address in ADDRESSES if is_in(address, network)}
            assert {alert["client_ip"] for alert in list_alerts(database, wanted, limit=99)} == expected, text
            assert len(list_alerts(database, wanted, limit=1)) == 1, text
            assert count_alerts(database, wanted) == len(expected), text
        both = AlertFilter(networks=[ip_network("20.3.0.113"), ip_network("2001:db8::/32")])
        assert count_alerts(database, both) == 3


@pytest.mark.parametrize(
    "wanted",
    [
        AlertFilter(actors=["Änne@example.com"]),
        AlertFilter(actors=["Änne@EXAMPLE.com"]),
        AlertFilter(actors=["Ä*"]),
        AlertFilter(countries=["Åland Islands"]),
        AlertFilter(countries=["Åland ISLANDS"]),
    ],
)
def test_filters_find_a_name_as_it_is_written(place: Place, wanted: AlertFilter) -> None:
    """A filter finds a name with letters beyond ASCII, in which upper and lower case need not be the same."""
    with open_database(place) as database:
        person = event(
            1,
            actor={"id": "00u1", "alternateId": "Änne@example.com"},
            client={"ipAddress": "203.0.113.7", "geographicalContext": {"country": "Åland Islands"}},
        )
        watch = Watch(org=ORG, rules=build_rules({}, read_file=str))
        commit_page(database, watch, page([person]), notify=False, advance=lambda *_: None, now=NOW)
        assert count_alerts(database, wanted) == 1


@pytest.mark.parametrize(
    ("wanted", "column"),
    [
        (AlertFilter(orgs=[ORG], actor_ids=["00u1"]), "actor_id"),
        (AlertFilter(orgs=[ORG], networks=[ip_network("203.0.113.7")]), "client_ip"),
    ],
)
def test_alerts_of_a_person_or_an_address_are_found_by_an_index(
    tmp_path: Any, wanted: AlertFilter, column: str
) -> None:
    """The alerts of a person or an address are found through an index."""
    statements: list[tuple[str, Any]] = []
    with place_of(Kind.SQLITE, tmp_path) as place, open_database(place) as database:
        fill(database)
        sql_event.listen(
            database._engine,
            "before_cursor_execute",
            lambda *arguments: statements.append((arguments[2], arguments[3])),
        )
        assert len(list_alerts(database, wanted, limit=9)) == 1
        with database.read() as connection:
            statement, values = next(one for one in statements if "SELECT alerts.id" in one[0])
            plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all())
    assert f"ix_alerts_org_{column} (org=? AND {column}=?)" in plan


def test_only_ids_are_sorted(tmp_path: Any) -> None:
    """Only ids are sorted, because sorting rows takes ten times as long."""
    statements: list[str] = []
    with place_of(Kind.SQLITE, tmp_path) as place, open_database(place) as database:
        fill(database)
        sql_event.listen(
            database._engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2])
        )
        assert len(list_alerts(database, AlertFilter(), limit=2)) == 2
    assert [
        statement for statement in statements if "alerts.context" in statement and " IN " not in statement
    ] == []
