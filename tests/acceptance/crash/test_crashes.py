"""Kill the daemon repeatedly: nothing is lost and nothing is duplicated.

``OKTAWATCH_TEST_KILLS`` is the number of kills (``make soak KILLS=5000``). ``OKTAWATCH_TEST_SEED`` determines where and when.
"""

import json
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests.acceptance.crash.comparison import KEY
from tests.acceptance.crash.world import Life, World, world
from tests.support.http import Received
from tests.support.places import Kind, Place, place_of

pytestmark = pytest.mark.waits

KILLS = int(os.environ.get("OKTAWATCH_TEST_KILLS", "8"))
SEED = int(os.environ.get("OKTAWATCH_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)


@pytest.fixture
def empty(kind: Kind, tmp_path: Path) -> Iterator[Place]:
    """Yield a database without a schema, so that upgrades are killed, too."""
    with place_of(kind, tmp_path, schema=False) as made:
        yield made


def report(name: str, made: World) -> None:
    """Print the numbers of kills, and fail on any difference."""
    found = made.differences()
    kills, points = made.kills.total(), sum(point != "anywhere" for point in made.kills)
    seen = {org: len(made.expected(org).events) for org in made.orgs}
    keys = {one.headers[KEY] for one in made.receiver.received}
    print(  # noqa: T201 -- this is the report
        f"{name}: {kills} kills, {kills - made.kills['anywhere']} of them at {points} named points, events {seen}, "
        f"{len(made.receiver.received)} messages under {len(keys)} keys, {len(found)} differences (seed {SEED})"
    )
    assert found == []


def test_a_daemon_is_killed_at_any_moment(empty: Place) -> None:
    """A daemon that is killed at any moment, and started again each time, reads and sends everything."""
    with world(empty, SEED) as made:
        folder = made.folder("only")
        while made.kills.total() < KILLS:
            made.die(folder)
        last = Life(folder)
        try:
            made.settle(last)
            assert last.stop() == 0
        finally:
            last.kill()
        report(f"{empty.kind}", made)


def test_one_of_two_replicas_is_killed_at_a_time(tmp_path: Path) -> None:
    """If one of two replicas is killed, the other continues, takes over, and hands back."""
    with place_of(Kind.POSTGRES, tmp_path) as place, world(place, SEED) as made:
        folders = [made.folder("first"), made.folder("second")]
        lives = [Life(folder) for folder in folders]
        try:
            for turn in range(max(KILLS // 2, 1)):
                made.live(made.random.uniform(0.5, 3.0))
                made.note_end(lives[turn % 2], None)
                lives[turn % 2] = Life(folders[turn % 2])
            made.settle(*lives)
            assert [life.stop() for life in lives] == [0, 0]
        finally:
            for life in lives:
                life.kill()
        report("two replicas", made)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM events WHERE uuid = (SELECT min(uuid) FROM events)",
        "INSERT INTO events (org, published, uuid) SELECT org, published, 'another' FROM events LIMIT 1",
        "UPDATE matches SET alert_id = (SELECT max(id) FROM alerts) WHERE alert_id = (SELECT min(id) FROM alerts)",
        "UPDATE alerts SET event_count = event_count + 1 WHERE id = 1",
        "UPDATE alerts SET severity = 'LOW' WHERE id = 1",
        "DELETE FROM notifications WHERE alert_id = (SELECT min(alert_id) FROM notifications)",
        "UPDATE notifications SET kind = 'digest'",
        "UPDATE notifications SET id = 'another' WHERE id = (SELECT min(id) FROM notifications WHERE state = 'sent')",
        "UPDATE notifications SET state = 'pending' WHERE id = (SELECT min(id) FROM notifications)",
        "UPDATE notifications SET state = 'dropped' WHERE state = 'digested'",
        "UPDATE notifications SET digest_id = NULL WHERE id = (SELECT min(id) FROM notifications WHERE state = 'digested')",
        "DELETE FROM sightings WHERE first_at = (SELECT min(first_at) FROM sightings)",
        "UPDATE sightings SET successes = successes + 1",
        "UPDATE orgs SET events_seen = events_seen - 1",
    ],
)
def test_the_comparison_finds_damaged_rows(whole: World, damage: str) -> None:
    """The comparison reports each kind of lost or duplicated row."""
    assert whole.differences() == []
    file = str(make_url(whole.place.url).database)
    with closing(sqlite3.connect(file)) as connection:
        before = connection.iterdump()
        kept = "\n".join(before)
        connection.execute(damage)
        connection.commit()
        assert whole.differences() != []
    Path(file).unlink()
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(kept)


def _lost(received: list[Received]) -> None:
    del received[next(at for at, one in enumerate(received) if "alert" in one.json)]


def _digest_lost(received: list[Received]) -> None:
    del received[next(at for at, one in enumerate(received) if "digest" in one.json)]


def _under_another_key(received: list[Received]) -> None:
    (one, other) = [one for one in received if "alert" in one.json][:2]
    received.append(Received(other.headers, one.body, one.answer))


def _made_up(received: list[Received]) -> None:
    one = next(one for one in received if "alert" in one.json)
    body = one.json
    body["alert"]["anchor"] = "2020-01-01T00:00:00.000Z"
    received.append(Received(one.headers, json.dumps(body).encode(), one.answer))


@pytest.mark.parametrize("damage", [_lost, _digest_lost, _under_another_key, _made_up])
def test_the_comparison_finds_damaged_messages(
    whole: World, damage: Callable[[list[Received]], None]
) -> None:
    """A message that was never received, arrived under two keys, or has no reason is reported as a difference."""
    kept = list(whole.receiver.received)
    whole.receiver.received.append(kept[0])  # received again under its key, which is allowed
    assert whole.differences() == []
    whole.receiver.received[:] = kept
    damage(whole.receiver.received)
    assert whole.differences() != []
    whole.receiver.received[:] = kept


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Yield a world in which no daemon was killed."""
    with place_of(Kind.SQLITE, tmp_path_factory.mktemp("whole")) as place, world(place, SEED) as made:
        life = Life(made.folder("only"))
        try:
            made.live(3.0, life)
            made.settle(life)
            assert life.stop() == 0
        finally:
            life.kill()
        yield made
