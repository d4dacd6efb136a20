"""Single sign-ins are read, the latest first, within a time limit."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count

import pytest

from oktawatch.detection.registry import build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.store.database import Database
from oktawatch.store.sign_ins import SignIns, other_people, recent_sign_ins
from tests.support.databases import NOW, ORG, open_database
from tests.support.places import Place
from tests.support.streams import event, page

HOUR = timedelta(hours=1)
NORA, EVE = ({"id": one, "alternateId": f"{one}@example.com"} for one in ("00u1", "00u2"))
HOME, AWAY = {"ipAddress": "198.51.100.9"}, {"ipAddress": "203.0.113.7"}


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    """Open a database in which Nora signed in at home each hour, through a proxy once, and Eve away."""
    events = [
        event(number, at=-number * HOUR, actor=NORA, client=HOME, securityContext={"isProxy": False})
        for number in range(1, 49)
    ]
    events += [
        event(100, actor=NORA, client=AWAY),
        event(101, at=-HOUR, actor=EVE, client=AWAY, securityContext={"isProxy": False}),
        event(102, actor=NORA, client=AWAY, eventType="user.authentication.sso"),
    ]
    with open_database(place) as made:
        watch = Watch(org=ORG, rules=build_rules({}, read_file=str))
        commit_page(made, watch, page(events), notify=False, advance=lambda *_: None, now=NOW)
        yield made


def nora(database: Database, *, limit: int = 100, hours: int = 48, patience_s: float = 60) -> SignIns:
    """Return Nora's sign-ins of the last hours. Each reading of the clock takes a second."""
    return recent_sign_ins(
        database,
        ORG,
        actor_ids=["00u1"],
        since=NOW - hours * HOUR,
        until=NOW + HOUR,
        limit=limit,
        patience_s=patience_s,
        clock=count().__next__,
    )


def test_sign_ins_of_a_person(database: Database) -> None:
    """The sign-ins of a person are returned the latest first, each with its alerts."""
    found = nora(database)
    assert [row["uuid"][-3:] for row in found.rows] == ["100", *(f"{number:03}" for number in range(1, 49))]
    assert [row["alerts"] for row in found.rows[:2]] == [[1], []]
    assert (found.since, found.complete) == (NOW - 48 * HOUR, True)


def test_sign_ins_from_an_address(database: Database) -> None:
    """The sign-ins of everyone who used the address are returned."""
    found = recent_sign_ins(
        database,
        ORG,
        addresses=["203.0.113.7"],
        since=NOW - 48 * HOUR,
        until=NOW + HOUR,
        limit=9,
        patience_s=60,
    )
    assert [row["actor_id"] for row in found.rows] == ["00u1", "00u2"]


def test_a_limit_keeps_the_latest_sign_ins(database: Database) -> None:
    """The latest sign-ins are returned, and the result states that it reaches back to the last one of them."""
    found = nora(database, limit=3)
    assert [row["uuid"][-3:] for row in found.rows] == ["100", "001", "002"]
    assert (found.since, found.complete) == (NOW - 2 * HOUR, False)


def test_the_time_limit_ends_the_search(database: Database) -> None:
    """At least one range is read, and the result states how far back it reaches."""
    found = nora(database, patience_s=0)
    assert found.rows
    assert not found.complete
    assert all(row["published"] >= found.since.isoformat()[:19] for row in found.rows)


def test_the_search_starts_at_the_latest_sign_in_and_ends_at_the_first(database: Database) -> None:
    """The sightings bound the search, so the sign-ins of an absent person are found in the first range."""
    old = event(200, at=-80 * 24 * HOUR, actor={"id": "00u3"}, client=HOME)
    watch = Watch(org=ORG, rules=build_rules({}, read_file=str))
    commit_page(database, watch, page([old]), notify=False, advance=lambda *_: None, now=NOW)
    since = NOW - 90 * 24 * HOUR
    found = recent_sign_ins(
        database,
        ORG,
        actor_ids=["00u3"],
        since=since,
        until=NOW,
        limit=9,
        patience_s=0,
        clock=count().__next__,
    )
    assert [row["uuid"][-3:] for row in found.rows] == ["200"]
    assert (found.since, found.complete) == (since, True)


def test_an_unknown_person_has_no_sign_ins(database: Database) -> None:
    """Without a sighting, no events are read."""
    found = recent_sign_ins(
        database,
        ORG,
        actor_ids=["00u9"],
        since=NOW - HOUR,
        until=NOW,
        limit=9,
        patience_s=0,
        clock=count().__next__,
    )
    assert (found.rows, found.complete) == ([], True)


def test_a_range_is_as_long_as_can_be_read_in_the_remaining_time(database: Database) -> None:
    """Reading the first hour took 1 s. Of 3.6 s then 1.6 s remain, so the second range is not two hours long."""
    found = nora(database, patience_s=3.6)
    assert 2 * HOUR < NOW - found.since < 3 * HOUR


def test_other_people_at_an_address(database: Database) -> None:
    """The number of other people excludes the person, and addresses without other people are left out."""
    assert other_people(database, ORG, ["00u1"], ["198.51.100.9", "203.0.113.7", ""]) == {"203.0.113.7": 1}
