"""A world that kills: simulated orgs in which people go on signing in, and daemons that die at any moment.

However often they died, what is in the database afterwards must be what the orgs' own record comes to:
each event once, each match in one alert, the counts right, each notification told, under one id.
"""

import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, text, update

from oktawatch.simulator import SimulatedOrg, running
from oktawatch.store import tables
from oktawatch.store.crashpoints import VARIABLE
from oktawatch.store.database import Database
from oktawatch.store.schema import current
from tests.acceptance.crash.law import Expected, expected
from tests.support.databases import rows
from tests.support.places import Place

NAMES = ("acme", "globex")
POINTS = [
    f"{when} {what}"
    for what in (
        "SELECT orgs", "SELECT matches", "SELECT alerts", "UPDATE alerts", "INSERT alerts", "INSERT matches",
        "INSERT notifications", "INSERT events", "INSERT rejected_events", "UPDATE orgs", "INSERT cursors",
        "UPDATE cursors", "SELECT notifications", "UPDATE notifications", "COMMIT",
    )
    for when in ("before", "after")
]  # fmt: skip
"""Every statement of a page's transaction and of a delivery."""
PATIENCE = 60.0
APPLE = {"ipServiceCategories": [{"operator": "APPLE_ICLOUD_RELAY_PROXY"}]}


_CLAIMED_BY_THE_DEAD = (
    update(tables.notifications)
    .where(tables.notifications.c.state == "pending")
    .values(next_attempt_at=bindparam("now", type_=tables.notifications.c.next_attempt_at.type))
)


class Life:
    """One daemon from its start to its end."""

    def __init__(self, folder: Path, *, point: str | None = None) -> None:
        """``point``: where it is to kill itself."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("OKTA")}
        environ |= {} if point is None else {VARIABLE: point}
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "oktawatch", "run", "--config", str(folder / "oktawatch.toml")],
                env=environ,
                stderr=log,
            )

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def kill(self) -> int:
        """End it by SIGKILL, unless it has done so itself; give what it ended with."""
        self.process.kill()
        return self.process.wait()

    def stop(self) -> int:
        """End it by SIGTERM; give its exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)


class World:
    """Orgs, a database, and folders of daemons."""

    def __init__(self, place: Place, urls: dict[str, str], orgs: dict[str, SimulatedOrg], seed: int) -> None:
        self.place = place
        self.orgs = orgs
        self.random = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self._urls = urls
        self._points: list[str] = []
        self._folders: list[Path] = []

    def folder(self, instance: str, *, lease_ttl: str = "3s") -> Path:
        """Make the folder of one daemon, with its configuration."""
        folder = self.place.folder / instance
        folder.mkdir()
        parts = [
            f'[database]\nurl = "{self.place.url}"\nauto_upgrade = true',
            '[poll]\ninterval = "1s"',
            f'[service]\nlog_format = "json"\nlisten = ""\ninstance = "{instance}"\nlease_ttl = "{lease_ttl}"',
        ]
        parts += [
            f'[[orgs]]\nname = "{name}"\nurl = "{url}"\ntoken = "{self.orgs[name].token}"'
            for name, url in self._urls.items()
        ]
        (folder / "oktawatch.toml").write_text("\n".join(parts), "utf-8")
        self._folders.append(folder)
        return folder

    def live(self, seconds: float, *watched: Life) -> None:
        """Let people sign in for a while, or until one of the daemons is over."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not any(life.over for life in watched):
            for name in self.orgs:
                for _ in range(self.random.randint(0, 3)):
                    self.somebody_signs_in(name)
            time.sleep(0.05)

    def die(self, folder: Path) -> None:
        """Start a daemon and kill it: anywhere, or more often at a named point, each of them in turn."""
        point = None
        if self.random.random() < 0.7:
            self._points = self._points or self.random.sample(POINTS, len(POINTS))
            point = self._points.pop()
        life = Life(folder, point=None if point is None else f"{point} {self.random.randint(1, 2)}")
        self.live(self.random.uniform(0.2, 3.0) if point is None else 8.0, life)
        self.note_end(life, point)

    def note_end(self, life: Life, point: str | None) -> None:
        """Kill a daemon and count it; one that ended otherwise than by SIGKILL is a failure."""
        by_itself = life.over
        code = life.kill()
        assert code == -9, f"the daemon ended with {code}: {self.log()[-5:]}"
        self.kills[point if point is not None and by_itself else "anywhere"] += 1

    def settle(self, *lives: Life) -> None:
        """Wait until everything is read and told, time passing quickly for what was claimed by the dead."""
        wanted = {name: self.expected(name) for name in self.orgs}
        end = time.monotonic() + PATIENCE
        with closing(Database(self.place.url, create=True)) as database:
            while not self._settled(database, wanted):
                assert time.monotonic() < end, f"not settled: {self.differences()[:5]} {self.log()[-5:]}"
                assert not any(life.over for life in lives), self.log()[-5:]
                time.sleep(0.2)

    def expected(self, name: str) -> Expected:
        """Work out what an org comes to."""
        return expected(self.orgs[name].events)

    def differences(self) -> list[str]:
        """Compare the database with the orgs' own record; give a line for each difference."""
        with closing(Database(self.place.url)) as database:
            stored = {
                name: rows(database, name)
                for name in ("orgs", "events", "matches", "alerts", "notifications", "rejected_events")
            }
        told = Counter(
            (line["alert_id"], line["event"].removeprefix("alert_"))
            for line in self.log()
            if "alert_id" in line
        )
        found = [
            difference for name in self.orgs for difference in _of_one_org(name, stored, self.expected(name))
        ]
        alerts = {alert["id"]: alert for alert in stored["alerts"]}
        for row in stored["notifications"]:
            if row["state"] == "sent" and not told[row["alert_id"], row["kind"]]:
                found.append(f"never told: {row}")
            if row["alert_id"] not in alerts:
                found.append(f"of no alert: {row}")
        return found

    def log(self) -> list[dict[str, Any]]:
        """Give what all daemons have logged; the last line of one that was killed may be torn."""
        lines = [
            line for folder in self._folders for line in (folder / "log").read_text("utf-8").splitlines()
        ]
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def _settled(self, database: Database, wanted: dict[str, Expected]) -> bool:
        if current(database) != tables.REVISION:
            return False
        with database.write() as connection:
            connection.execute(_CLAIMED_BY_THE_DEAD, {"now": datetime.now(UTC)})
            pending = connection.execute(
                text("SELECT count(*) FROM notifications WHERE state = 'pending'")
            ).scalar_one()
            counts = text("SELECT org, count(*) FROM events GROUP BY org")
            seen = {row[0]: row[1] for row in connection.execute(counts)}
        return pending == 0 and all(seen.get(name, 0) == len(org.events) for name, org in wanted.items())

    def somebody_signs_in(self, name: str) -> None:
        """Let an event happen in an org."""
        draw, org = self.random, self.orgs[name]
        if draw.random() < 0.05:
            org.persist(
                json.dumps({"uuid": None, "eventType": "user.session.start", "n": draw.random()}).encode()
            )
            return
        proxy = draw.random() < 0.5
        relay = {"ipDetails": APPLE} if draw.random() < 0.3 else {}
        at = org.now() - draw.random() * timedelta(hours=12)
        org.persist(
            {
                "uuid": str(uuid.UUID(int=draw.getrandbits(128), version=4)),
                "published": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "eventType": "user.session.start",
                "actor": {"id": draw.choice(["00u1", "00u2", "00u3"]), "alternateId": "nora@example.com"},
                "client": {"ipAddress": draw.choice(["203.0.113.7", "198.51.100.9"])},
                "securityContext": {"isProxy": proxy, **relay},
            }
        )


def _of_one_org(name: str, stored: dict[str, list[dict[str, Any]]], wanted: Expected) -> Iterator[str]:
    mine = {table: [row for row in found if row.get("org") == name] for table, found in stored.items()}
    events = [row["uuid"] for row in mine["events"]]
    matches = [row["event_uuid"] for row in mine["matches"]]
    for what, is_there, should in (("event", events, wanted.events), ("match", matches, wanted.matches)):
        yield from (f"{name}: {what} {one} is missing" for one in should - set(is_there))
        yield from (f"{name}: {what} {one} is too much" for one in set(is_there) - should)
        yield from (
            f"{name}: {what} {one} is there {n} times" for one, n in Counter(is_there).items() if n > 1
        )
    held = Counter(row["alert_id"] for row in mine["matches"])
    alerts = {
        (row["dedup_key"], row["anchor"]): (
            row["severity"].name, row["event_count"], held[row["id"]], row["first_event_at"], row["last_event_at"],
        )
        for row in mine["alerts"]
    }  # fmt: skip
    should_be = {
        (alert.key, alert.anchor): (
            alert.severity, len(alert.times), len(alert.times), min(alert.times), max(alert.times),
        )
        for alert in wanted.alerts
    }  # fmt: skip
    if len(mine["alerts"]) != len(alerts):
        yield f"{name}: {len(mine['alerts'])} alerts of {len(alerts)} keys and anchors"
    for key in alerts.keys() | should_be.keys():
        if alerts.get(key) != should_be.get(key):
            yield f"{name}: alert {key} is {alerts.get(key)}, should be {should_be.get(key)}"
    ids = {row["id"]: (row["dedup_key"], row["anchor"]) for row in mine["alerts"]}
    told = Counter(
        (ids[row["alert_id"]], row["kind"]) for row in stored["notifications"] if row["alert_id"] in ids
    )
    tell = Counter(((alert.key, alert.anchor), kind) for alert in wanted.alerts for kind in alert.told)
    yield from (
        f"{name}: told {one} {told[one]} times, should be {tell[one]}"
        for one in told | tell
        if told[one] != tell[one]
    )
    (counts,) = (row for row in stored["orgs"] if row["name"] == name)
    counted = (counts["events_seen"], counts["matches"], counts["events_rejected"])
    count = (len(wanted.events), len(wanted.matches), wanted.rejected)
    if counted != count:
        yield f"{name}: counted {counted}, should be {count}"


@contextmanager
def world(place: Place, seed: int, names: Sequence[str] = NAMES) -> Iterator[World]:
    """Make the orgs and serve them."""
    with ExitStack() as stack:
        orgs = {name: SimulatedOrg() for name in names}
        urls = {name: stack.enter_context(running(org)) for name, org in orgs.items()}
        yield World(place, urls, orgs, seed)
