"""The daemon is killed during a delivery: a message that was received is sent again with the same key."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.acceptance.crash.comparison import KEY
from tests.acceptance.crash.world import PATIENCE, Life, World, world
from tests.support.places import Place

LATE = timedelta(hours=2)
CLAIMED = 1
"""The statement that claims a notification. The next update marks it as sent."""


@pytest.fixture
def made(place: Place) -> Iterator[World]:
    """Yield a world of one org."""
    with world(place, 1, ["acme"]) as made:
        yield made


def keys(made: World) -> list[str]:
    """Return the idempotency key of each received message."""
    return [one.headers[KEY] for one in made.receiver.received]


def run_until_killed(made: World, point: str) -> None:
    """Run a daemon until it is killed at a crash point."""
    life = Life(made.folder("first"), point=point)
    assert life.process.wait(PATIENCE) == -9, made.log()[-5:]


def restart_and_check(made: World) -> None:
    """Start the daemon again, wait until everything is sent, stop it, and check that nothing is missing or duplicated."""
    life = Life(made.folder("again"))
    try:
        made.settle(life)
        assert life.stop() == 0
    finally:
        life.kill()
    assert made.differences() == []


def test_killed_before_sending(made: World) -> None:
    """A notification that was claimed but not sent is sent when the claim ends."""
    made.signs_in("acme", "00u1", ago=timedelta())
    run_until_killed(made, f"after UPDATE notifications {CLAIMED}")
    assert keys(made) == []

    restart_and_check(made)

    assert len(keys(made)) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_between_sending_and_marking(made: World, when: str) -> None:
    """A received message that is not marked as sent is sent again with the same key."""
    made.signs_in("acme", "00u1", ago=timedelta())
    run_until_killed(made, f"{when} UPDATE notifications {CLAIMED + 1}")
    (key,) = keys(made)
    assert made.place.ask("SELECT id, state, sent_at FROM notifications") == [(key, "pending", None)]

    restart_and_check(made)

    assert keys(made) == [key, key]
    assert made.place.ask("SELECT id, state FROM notifications") == [(key, "sent")]


def test_killed_between_sending_and_marking_a_digest(made: World) -> None:
    """A digest that is not marked as sent is sent again unchanged; later alerts are sent under other keys."""
    for who in ("00u1", "00u2"):
        made.signs_in("acme", who, ago=LATE)
    run_until_killed(made, f"before UPDATE notifications {CLAIMED + 2}")  # the first transaction folds
    (key,) = keys(made)
    for who in ("00u3", "00u4", "00u5"):
        made.signs_in("acme", who, ago=LATE)

    restart_and_check(made)

    again = [one.json["digest"]["alerts"] for one in made.receiver.received if one.headers[KEY] == key]
    assert again == [2, 2]
    others = [
        one.json.get("digest", {"alerts": 1}) for one in made.receiver.received if one.headers[KEY] != key
    ]
    assert sum(one["alerts"] for one in others) == 3
