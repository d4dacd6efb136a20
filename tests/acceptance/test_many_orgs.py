"""Two hundred orgs in one process: each is polled, and an org that hangs delays no other."""

import socket
from collections import Counter
from datetime import UTC, datetime

from oktawatch.simulator import SimulatedOrg, running
from tests.support.daemon import STOPS_WITHIN, Daemon, until
from tests.support.logclient import event
from tests.support.places import Place

ORGS = 200


def _org(number: int, url: str, token: str) -> str:
    return f'[[orgs]]\nname = "org-{number:03d}"\nurl = "{url}"\ntoken = "{token}"\n'


def test_two_hundred_orgs_are_polled_although_one_hangs_and_one_is_refused(place: Place) -> None:
    """Each org, also one from orgs.d, has its own credentials, cursor and failures."""
    orgs = [SimulatedOrg(token=f"00token{number}") for number in range(4)]
    for number, org in enumerate(orgs):
        org.persist(event(number, datetime.now(UTC), securityContext={"isProxy": True}))
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        running(orgs[0]) as first,
        running(orgs[1]) as second,
        running(orgs[2]) as third,
        running(orgs[3]) as fourth,
    ):
        urls = [first, second, third, fourth]
        (place.folder / "orgs.d").mkdir()
        for number in range(2, ORGS):
            one = number % 4
            text = _org(number, urls[one], orgs[one].token)
            (place.folder / "orgs.d" / f"{number:03d}.toml").write_text(text, "utf-8")
        hanging = _org(0, f"http://127.0.0.1:{silent.getsockname()[1]}", "00token")
        refused = _org(1, first, "00another")
        settings = '[poll]\ninterval = "5s"\n[service]\nlog_format = "json"\n'
        with Daemon(place, settings + hanging + refused) as daemon:
            until(lambda: len(_caught_up(place)) == ORGS - 2, "198 orgs that have caught up")
            until(lambda: max(Counter(_told(daemon)).values(), default=0) == 1, "alerts")
            code, seconds = daemon.stop()
    assert (code, seconds < STOPS_WITHIN) == (0, True)
    assert {"org-000", "org-001"}.isdisjoint(_caught_up(place))
    assert [line["org"] for line in daemon.events("poll_failed")] == ["org-001"]
    assert set(Counter(_told(daemon)).values()) == {1}


def _caught_up(place: Place) -> set[str]:
    # Until the table exists, the schema is being created.
    found = "SELECT org FROM cursors WHERE last_caught_up_at IS NOT NULL"
    return {row[0] for row in place.ask(found)} if place.has("cursors") else set()


def _told(daemon: Daemon) -> list[str]:
    return [line["org"] for line in daemon.events("alert_opened")]
