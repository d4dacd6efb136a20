"""Replicas share the orgs by the database's clock."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from oktawatch.store.database import Database
from oktawatch.store.leases import Leases, NameTakenError
from oktawatch.store.status import org_statuses
from tests.support.databases import open_database
from tests.support.places import Kind, place_of

ORGS = [f"org-{number:02}" for number in range(20)]
LASTS = timedelta(seconds=20)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Yield a Postgres database with twenty orgs: SQLite has one daemon and no leases."""
    with place_of(Kind.POSTGRES, tmp_path) as place, open_database(place, *ORGS) as made:
        yield made


def replica(name: str, orgs: list[str] = ORGS) -> Leases:
    """Return a replica that has just started."""
    return Leases(name, orgs, lasts=LASTS)


def time_passes(database: Database, seconds: float, *renewing: str) -> None:
    """Advance the time without waiting. The replicas in ``renewing`` renew their leases meanwhile."""
    with database.write() as connection:
        for table, owner in (("leases", "holder"), ("replicas", "name")):
            connection.execute(
                text(
                    f"UPDATE {table} SET expires_at = expires_at - make_interval(secs => :seconds) "  # noqa: S608 -- two tables' names
                    f"WHERE {owner} IS NULL OR {owner} <> ALL (:renewing)"
                ),
                {"seconds": seconds, "renewing": list(renewing)},
            )


def settle(database: Database, *replicas: Leases) -> list[frozenset[str]]:
    """Renew the leases of all replicas twice, so that each gets what others have released; return them."""
    for _ in range(2):
        held = [one.keep(database) for one in replicas]
    assert sum(len(orgs) for orgs in held) == len(frozenset().union(*held)), "an org is held twice"
    return held


def test_one_replica_holds_every_org(database: Database) -> None:
    """A single replica holds all orgs permanently."""
    alone = replica("a")
    assert alone.keep(database) == alone.keep(database) == set(ORGS)


def test_orgs_spread_evenly(database: Database) -> None:
    """A new replica gets its share as soon as the others have noticed it."""
    replicas = [replica("a")]
    assert [len(orgs) for orgs in settle(database, *replicas)] == [20]
    replicas.append(replica("b"))
    assert sorted(len(orgs) for orgs in settle(database, *reversed(replicas))) == [10, 10]
    replicas.append(replica("c"))
    settle(database, *replicas)
    assert sorted(len(orgs) for orgs in settle(database, *replicas)) == [6, 7, 7]


def test_a_replica_that_stops_renewing_is_replaced(database: Database) -> None:
    """Another replica takes the orgs when the leases have expired, and not before."""
    lost, other = replica("a"), replica("b")
    settle(database, lost, other)
    time_passes(database, LASTS.total_seconds() - 1, "b")
    assert len(other.keep(database)) == 10
    time_passes(database, 1, "b")
    assert other.keep(database) == set(ORGS)


def test_a_replica_that_was_suspended_gets_its_share_again(database: Database) -> None:
    """A replica that was suspended until its leases expired gets its share again."""
    away, other = replica("a"), replica("b")
    settle(database, away, other)
    time_passes(database, LASTS.total_seconds(), "b")
    other.keep(database)
    assert away.keep(database) == set()
    assert sorted(len(orgs) for orgs in settle(database, other, away)) == [10, 10]


def test_a_replica_that_stops_is_replaced_at_once(database: Database) -> None:
    """A replica that stops releases its leases at once."""
    stopping, other = replica("a"), replica("b")
    settle(database, stopping, other)
    stopping.release(database)
    assert other.keep(database) == set(ORGS)


def test_a_restarted_replica_keeps_its_leases(database: Database) -> None:
    """A replica that is killed and restarts before its leases expire holds them at once."""
    killed, other = replica("a"), replica("b")
    before = settle(database, killed, other)[0]
    assert replica("a").keep(database) == before


def test_the_later_of_two_replicas_with_one_name_runs(database: Database) -> None:
    """Of two replicas with the same name, the later one runs. When it is gone, the other one takes over."""
    first = replica("a")
    first.keep(database)
    second = replica("a")
    assert second.keep(database) == set(ORGS)
    with pytest.raises(NameTakenError, match=r"another process runs as a: .*service\.instance"):
        first.keep(database)
    first.release(database)
    assert second.keep(database) == set(ORGS)
    time_passes(database, LASTS.total_seconds())
    assert first.keep(database) == set(ORGS)


def test_every_org_is_held(database: Database) -> None:
    """Every org is held permanently, even if the replicas have different orgs configured."""
    some, every = replica("a", ORGS[:4]), replica("b")
    settle(database, some, every)
    for _ in range(2):
        time_passes(database, LASTS.total_seconds(), "a", "b")
        held = settle(database, some, every)
    assert frozenset().union(*held) == set(ORGS)
    time_passes(database, LASTS.total_seconds(), "a", "b")
    assert settle(database, some, every) == held


def test_replicas_that_start_at_once_share_the_orgs(database: Database) -> None:
    """Replicas that start at once share the orgs without waiting, failing or holding an org twice."""
    replicas = [replica(f"replica-{number}") for number in range(5)]
    with ThreadPoolExecutor(len(replicas)) as threads:
        for _ in range(3):
            held = list(threads.map(lambda one: one.keep(database), replicas))
    held = settle(database, *replicas)
    assert sorted(len(orgs) for orgs in held) == [4] * 5


def test_status_shows_the_holders(database: Database) -> None:
    """`status` shows the holder of each org on any machine."""
    assert {status.holder for status in org_statuses(database)} == {None}
    replica("a").keep(database)
    assert {status.org: status.holder for status in org_statuses(database)} == {
        "acme": None,
        **dict.fromkeys(ORGS, "a"),
    }


def test_a_lease_from_before_the_servers_clock_was_set_back_holds_nothing(database: Database) -> None:
    """A lease from before the server's clock was set back does not block its org."""
    lost, other = replica("a"), replica("b")
    settle(database, lost, other)
    time_passes(database, -7200, "b")

    assert other.keep(database) == set(ORGS)
