"""Looking up a person, an address, and what was new for a person."""

from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event as sql_event

from oktawatch.detection.registry import build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.model.event import Event
from oktawatch.model.sighting import Novelty
from oktawatch.store.database import Database
from oktawatch.store.networks import prefix_of
from oktawatch.store.sighting_queries import address, novelty, person
from tests.support.databases import NOW, ORG, empty, open_database, rows
from tests.support.places import Kind, place_of
from tests.support.streams import event, page

HOUR = timedelta(hours=1)
OTHER = "other"
DIRECT = {"isProxy": False, "asNumber": 64500}


@pytest.fixture(scope="module")
def database(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield one database for all tests; each empties it first."""
    with place_of(kind, tmp_path_factory.mktemp("queries")) as place, open_database(place, OTHER) as made:
        yield made


def read(database: Database, *events: Event, org: str = ORG) -> None:
    """Commit a page of events."""
    watch = Watch(org=org, rules=build_rules({}, read_file=str))
    commit_page(database, watch, page(events), notify=False, advance=lambda *_: None, now=NOW)


def sign_in(
    number: int, who: str, ip: str | None, *, at: timedelta = timedelta(), login: str = "", **changes: Any
) -> Event:
    """Return a sign-in of a person, by default with a login like the id."""
    actor = {"id": who, "alternateId": login or f"{who}@example.com"}
    client = {"ipAddress": ip, "geographicalContext": {"country": changes.pop("country", None)}}
    return event(number, at=at, actor=actor, client=client, **{"securityContext": DIRECT} | changes)


def test_a_person_is_found_by_id_and_by_login(database: Database) -> None:
    """A person is found by id or login (case-insensitive), also under older logins, the latest sighting first."""
    empty(database)
    read(
        database,
        sign_in(1, "nora", "203.0.113.7", at=-HOUR, login="maiden@example.com"),
        sign_in(2, "nora", "203.0.113.8"),
        sign_in(3, "eve", "203.0.113.7"),
        sign_in(4, "unknown", "203.0.113.7"),
    )
    read(database, sign_in(5, "nora2", "203.0.113.9", at=HOUR, login="Nora@Example.com"), org=OTHER)
    both = ["203.0.113.8", "203.0.113.7"]
    for name in ("nora", "nora@example.com", "NORA@example.com", "maiden@EXAMPLE.com"):
        assert [one.client_ip for one in person(database, ORG, name)] == both, name
    assert [(one.org, one.client_ip) for one in person(database, None, "nora@example.com")] == [
        (OTHER, "203.0.113.9"), (ORG, both[0]), (ORG, both[1]),
    ]  # fmt: skip
    assert person(database, ORG, "") == person(database, ORG, "unknown@example.com") == []
    (row,) = person(database, OTHER, "nora2")
    (stored,) = [row for row in rows(database, "sightings") if row["org"] == OTHER]
    assert all(getattr(row, name) == stored[name] for name in row.__struct_fields__)


@pytest.mark.parametrize(
    ("seen", "notation"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8::7", "2001:db8:0:0:0:0:0:7"),
        ("2001:db8:0:0:0:0:0:7", "2001:db8::7"),
        ("2001:0db8:0000:0000:0000:0000:0000:0007", "2001:db8::7"),
    ],
)
def test_an_address_is_found_however_it_is_written(database: Database, seen: str, notation: str) -> None:
    """An address is found in any notation, with all people who used it, in one org or all."""
    empty(database)
    read(database, sign_in(1, "nora", seen), sign_in(2, "eve", seen, at=HOUR), sign_in(3, "eve", "192.0.2.1"))
    read(database, sign_in(4, "nora", seen, at=-HOUR), org=OTHER)
    assert [one.actor_id for one in address(database, ORG, ip_network(notation))] == ["eve", "nora"]
    assert [one.org for one in address(database, None, ip_network(notation))] == [ORG, ORG, OTHER]


addresses = st.one_of(
    st.ip_addresses(v=4, network="203.0.96.0/19"),
    st.ip_addresses(v=6, network="2001:db8::/119"),
    st.ip_addresses(),
)


@given(st.lists(addresses, max_size=8), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_network_contains_only_its_addresses(
    database: Database, seen: list[Any], data: st.DataObject
) -> None:
    """A network of either version and any prefix length finds its addresses among texts that are not addresses."""
    empty(database)
    texts = [str(one) for one in seen] + ["203.0.113.x", "unknown:", "203.0.113"]
    read(database, *(sign_in(number, "nora", text) for number, text in enumerate(texts)))
    one = data.draw(st.one_of(addresses, st.sampled_from(seen)) if seen else addresses)
    bits = data.draw(st.integers(0, one.max_prefixlen))
    network = ip_network((one, bits), strict=False)
    found = {row.client_ip for row in address(database, ORG, network)}
    assert found == {str(one) for one in seen if ip_address(one) in network}


@given(addresses, st.data())
def test_all_addresses_of_a_network_begin_with_its_prefix(one: Any, data: st.DataObject) -> None:
    """All addresses of a network have its prefix as text, and addresses with another whole octet don't."""
    bits = data.draw(st.integers(0, one.max_prefixlen))
    network = ip_network((one, bits), strict=False)
    prefix = prefix_of(network)
    assert str(one).startswith(prefix)
    assert prefix.count(".") == (min(bits // 8, 3) if one.version == 4 else 0)


def test_what_is_new_for_a_person(database: Database) -> None:
    """What is new depends only on the person's sightings from before the time."""
    empty(database)
    proxied = DIRECT | {"isProxy": True, "asNumber": 64501}
    read(
        database,
        sign_in(1, "nora", "203.0.113.7", at=-HOUR, country="Norway"),
        sign_in(2, "nora", "198.51.100.9", country="Chile", securityContext=proxied),
        sign_in(3, "eve", "198.51.100.9", at=HOUR, country="Chile", securityContext=proxied),
        sign_in(4, "unknown", "198.51.100.9"),
    )
    proxied_sign_in = novelty(database, ORG, "nora", "198.51.100.9", as_number=64501, country="Chile", at=NOW)
    everything = ("country", "network", "address", "anonymizer")
    assert proxied_sign_in == Novelty(new=everything, known_since=NOW - HOUR, others=1)
    later = novelty(database, ORG, "nora", "198.51.100.9", as_number=64501, country="Chile", at=NOW + HOUR)
    assert later == Novelty(new=(), known_since=NOW - HOUR, others=1)
    nearby = novelty(database, ORG, "nora", "203.0.113.8", as_number=64500, country="Norway", at=NOW)
    assert nearby == Novelty(new=("address",), known_since=NOW - HOUR, others=0)
    first = novelty(database, ORG, "nora", "203.0.113.7", as_number=64500, country="Norway", at=NOW - HOUR)
    assert first == Novelty(new=everything[:3], known_since=None, others=0)


def test_unknown_values_are_not_new(database: Database) -> None:
    """An event without a place, network, address or actor id has nothing new."""
    empty(database)
    read(database, sign_in(1, "nora", None, at=-HOUR), sign_in(2, "eve", "203.0.113.7"))
    assert novelty(database, ORG, "nora", None, as_number=None, country=None, at=NOW) == Novelty(
        new=(), known_since=NOW - HOUR, others=0
    )
    assert novelty(database, ORG, None, "203.0.113.7", as_number=1, country="Norway", at=NOW) == Novelty(
        new=(), known_since=None, others=1
    )


def test_addresses_are_looked_up_in_the_index(tmp_path: Any) -> None:
    """A query by address uses the index, which SQLite would not choose by itself."""
    with place_of(Kind.SQLITE, tmp_path) as place, open_database(place) as database:
        statements: list[tuple[str, Any]] = []
        sql_event.listen(
            database._engine,
            "before_cursor_execute",
            lambda *arguments: statements.append((arguments[2], arguments[3])),
        )
        address(database, ORG, ip_network("203.0.113.7"))
        address(database, None, ip_network("203.0.113.7"))
        novelty(database, ORG, "nora", "203.0.113.7", as_number=None, country=None, at=NOW)
        with database.read() as connection:
            plans = [
                str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all())
                for statement, values in list(statements)
                if "client_ip IN" in statement or "count(*)" in statement
            ]
    assert len(plans) == 3
    assert all("ix_sightings_org_client_ip (org=? AND client_ip=?)" in plan for plan in plans)
