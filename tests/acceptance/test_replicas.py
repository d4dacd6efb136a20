"""Several daemons on one Postgres database share the orgs, and take over from each other.

``OKTAWATCH_TEST_LEASE_TTL`` is the length of a lease in seconds. It is shorter here than the default of
`service.lease_ttl`, 30 s, because all waits depend on it. `make soak` uses 30 s.
"""

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.crash.world import Life, World, world
from tests.support.launch import environment, launch
from tests.support.places import Kind, Place, place_of

ORGS = [f"org-{number:02}" for number in range(20)]
TTL = int(os.environ.get("OKTAWATCH_TEST_LEASE_TTL", "10"))
PATIENCE = 60.0


def until(condition: Callable[[], bool], what: str, *, within: float = PATIENCE) -> float:
    """Wait for a condition; return the seconds that it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < within, f"in vain: {what}"
        time.sleep(0.05)
    return time.monotonic() - begun


def holders(place: Place) -> Counter[str]:
    """Count each replica's orgs."""
    held = "SELECT holder, count(*) FROM leases WHERE holder IS NOT NULL AND expires_at > now() GROUP BY 1"
    return Counter(dict(place.ask(held)))


def every_org_polled(made: World) -> Callable[[], bool]:
    """Return a function that returns whether every org has been requested since now."""
    requests_before = {name: len(org.requests) for name, org in made.orgs.items()}
    return lambda: all(len(org.requests) > requests_before[name] for name, org in made.orgs.items())


@pytest.mark.slow
def test_replicas_share_take_over_and_return_orgs(tmp_path: Path) -> None:
    """Replicas are killed, restarted, suspended and stopped. Every org continues to be polled, and nothing is duplicated."""
    with place_of(Kind.POSTGRES, tmp_path) as place, world(place, 1, ORGS) as made:
        first, second = (made.folder(name, lease_ttl=f"{TTL}s") for name in ("first", "second"))
        lives = {"first": Life(first), "second": Life(second)}
        try:
            until(lambda: holders(place) == {"first": 10, "second": 10}, "ten orgs each")
            made.live(1.0)

            lives["first"].kill()
            took = until(every_org_polled(made), "all polled after a kill -9", within=TTL)
            print(f"kill -9: every org polled again after {took:.1f} s of {TTL} s")  # noqa: T201 -- a measurement
            assert holders(place) == {"second": 20}

            lives["first"] = Life(first)
            until(lambda: holders(place) == {"first": 10, "second": 10}, "ten orgs each again")
            made.live(1.0)

            lives["second"].signal(signal.SIGSTOP)
            until(lambda: holders(place) == {"first": 20}, "what was stopped is taken over", within=TTL)
            made.live(2.0)
            lives["second"].signal(signal.SIGCONT)
            until(lambda: holders(place) == {"first": 10, "second": 10}, "ten orgs each once more")
            made.live(1.0)

            assert lives["first"].stop() == 0
            took = until(lambda: holders(place) == {"second": 20}, "what was given back", within=TTL)
            until(every_org_polled(made), "all polled after a clean stop", within=TTL)
            print(f"clean stop: taken over after {took:.1f} s")  # noqa: T201 -- a measurement

            made.settle(lives["second"])
            assert lives["second"].stop() == 0
        finally:
            for life in lives.values():
                life.kill()
        assert made.differences() == []


def test_two_backfills_beside_a_daemon(place: Place) -> None:
    """With three writers for one org, no event is lost, no alert duplicated, every count is right, and none fails."""
    place.wipe()
    with world(place, 2, ["acme"]) as made:
        for _ in range(400):
            made.somebody_signs_in("acme")
        folder = made.folder("only")
        config = folder / "oktawatch.toml"
        # More than all events that can't be used: a full last page of only these could not be told from a page without its link.
        config.write_text(config.read_text("utf-8").replace("[poll]", "[poll]\npage_size = 40"), "utf-8")
        daemon = Life(folder)
        try:
            backfills = [
                launch(
                    ["backfill", "--since", since, "--config", str(config)],
                    environ=environment(),
                    stderr=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    text=True,
                )
                for since in ("24h", "1d")
            ]
            made.live(3.0, daemon)
            outputs = [backfill.communicate(timeout=PATIENCE)[1] for backfill in backfills]
            assert [backfill.returncode for backfill in backfills] == [0, 0], outputs
            made.settle(daemon)
            assert daemon.stop() == 0
        finally:
            daemon.kill()
        errors = [line for line in made.log() if line["level"] == "error"]
        assert not errors, errors
        # The order of the three writers affects only the grouping.
        assert [
            line for line in made.differences() if ": alert " not in line and ": notified " not in line
        ] == []
        held = dict(place.ask("SELECT alert_id, count(*) FROM matches GROUP BY 1"))
        assert held == dict(place.ask("SELECT id, event_count FROM alerts"))
        of_alerts = "SELECT count(*) FROM notifications WHERE alert_id IS NOT NULL"
        twice = f"{of_alerts} GROUP BY alert_id, kind HAVING count(*) > 1"
        assert place.ask(twice) == []
