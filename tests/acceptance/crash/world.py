"""Simulated orgs with continuous sign-ins, and daemons that are killed at any moment.

Afterwards, the database must agree with the orgs' own record: each event is stored once, each match is in one alert,
and the counts are right. Each notification has arrived under one key at a receiver that is never killed.
"""

import json
import random
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
from tests.acceptance.crash.comparison import notification_differences, org_differences
from tests.acceptance.crash.law import ALLOWED, Expected, expected
from tests.support.databases import rows
from tests.support.http import HttpReceiver, receiving
from tests.support.launch import environment, launch
from tests.support.places import Place

NAMES = ("acme", "globex")
POINTS = [
    f"{when} {what}"
    for what in (
        "SELECT orgs", "SELECT matches", "SELECT alerts", "UPDATE alerts", "INSERT alerts", "INSERT matches",
        "SELECT allowed_matches", "INSERT allowed_matches", "SELECT familiar_days",
        "INSERT notifications", "SELECT events", "INSERT events", "SELECT counted_sign_ins", "INSERT sightings",
        "INSERT rejected_events", "UPDATE orgs", "INSERT cursors", "UPDATE cursors", "SELECT locked",
        "SELECT notifications", "SELECT sightings", "UPDATE notifications", "SELECT notifiers", "COMMIT",
    )
    for when in ("before", "after")
]  # fmt: skip
"""Every statement of a page's transaction and of a delivery. ``taken`` is a lock that only Postgres has."""
PATIENCE = 60.0
UNUSABLE_EVERY = 20
"""Every twentieth event is unusable. If they were chosen at random, there would sometimes be enough for an alarm."""
APPLE = {"ipServiceCategories": [{"operator": "APPLE_ICLOUD_RELAY_PROXY"}]}


_NOTIFIER = 'type = "webhook"\nmin_severity = "INFO"\nmax_per_minute = 1_000_000'
_sent_at = tables.notifications.c.sent_at
_WAITING = (
    update(tables.notifications)
    .where(tables.notifications.c.state == "pending")
    .values(next_attempt_at=bindparam("now", type_=_sent_at.type))
)
_TOLD_LATELY = (
    update(tables.notifications)
    .where(tables.notifications.c.kind == "digest", _sent_at > bindparam("before", type_=_sent_at.type))
    .values(sent_at=bindparam("before", type_=_sent_at.type))
)


class Life:
    """One daemon process."""

    def __init__(self, folder: Path, *, point: str | None = None) -> None:
        """``point`` is the crash point at which the process kills itself."""
        environ = environment() | ({} if point is None else {VARIABLE: point})
        self._log = folder / "log"
        self._begins_at = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self.process = launch(
                ["run", "--config", str(folder / "oktawatch.toml")], environ=environ, stderr=log
            )

    @property
    def over(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    @property
    def started(self) -> bool:
        """Whether the daemon has started. Before, SIGTERM ends the process like any other program."""
        return b'"daemon_started"' in self._log.read_bytes()[self._begins_at :]

    def kill(self) -> int:
        """Kill the daemon unless it has ended; return its exit code."""
        self.process.kill()
        return self.process.wait()

    def stop(self) -> int:
        """Stop the daemon with SIGTERM; return its exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)


class World:
    """Orgs, a database, and folders of daemons."""

    def __init__(
        self,
        place: Place,
        urls: dict[str, str],
        orgs: dict[str, SimulatedOrg],
        receiver: HttpReceiver,
        seed: int,
    ) -> None:
        self.place = place
        self.orgs = orgs
        self.receiver = receiver
        self.random = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self._urls = urls
        self._sign_ins: Counter[str] = Counter()
        self._points: list[str] = []
        self._folders: list[Path] = []

    def folder(self, instance: str, *, lease_ttl: str = "3s") -> Path:
        """Create the folder of one daemon, with its configuration."""
        folder = self.place.folder / instance
        folder.mkdir()
        parts = [
            f'[database]\nurl = "{self.place.url}"\nauto_upgrade = true',
            '[poll]\ninterval = "1s"',
            f'[service]\nlog_format = "json"\nlisten = ""\ninstance = "{instance}"\nlease_ttl = "{lease_ttl}"',
        ]
        parts.append(f'[[allow]]\nreason = "the office"\nnetworks = ["{ALLOWED}"]')
        parts.append(f'[[notifiers]]\nname = "soc"\nurl = "{self.receiver.url}"\n{_NOTIFIER}')
        parts += [
            f'[[orgs]]\nname = "{name}"\nurl = "{url}"\ntoken = "{self.orgs[name].token}"'
            for name, url in self._urls.items()
        ]
        (folder / "oktawatch.toml").write_text("\n".join(parts), "utf-8")
        self._folders.append(folder)
        return folder

    def live(self, seconds: float, *watched: Life) -> None:
        """Generate sign-ins for some time, or until one of the daemons has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not any(life.over for life in watched):
            for name in self.orgs:
                for _ in range(self.random.randint(0, 3)):
                    self.somebody_signs_in(name)
            time.sleep(0.05)

    def die(self, folder: Path) -> None:
        """Start a daemon and kill it, usually at the next crash point, otherwise at any time."""
        point = None
        if self.random.random() < 0.7:
            self._points = self._points or self.random.sample(POINTS, len(POINTS))
            point = self._points.pop()
        life = Life(folder, point=None if point is None else f"{point} {self.random.randint(1, 2)}")
        self.live(self.random.uniform(0.2, 3.0) if point is None else 8.0, life)
        self.note_end(life, point)

    def note_end(self, life: Life, point: str | None) -> None:
        """Kill a daemon and count the kill. Fail if the daemon ended in any other way than by SIGKILL."""
        by_itself = life.over
        code = life.kill()
        assert code == -9, f"the daemon ended with {code}: {self.log()[-5:]}"
        self.kills[point if point is not None and by_itself else "anywhere"] += 1

    def settle(self, *lives: Life, patience_s: float = PATIENCE) -> None:
        """Wait until these daemons have started, and everything is read and sent.

        The claims of killed daemons and the delays of digests are shortened.
        """
        wanted = {name: self.expected(name) for name in self.orgs}
        end = time.monotonic() + patience_s
        with closing(Database(self.place.url, create=True)) as database:
            while not (self._settled(database, wanted) and all(life.started for life in lives)):
                assert time.monotonic() < end, f"not settled: {self.differences()[:5]} {self.log()[-5:]}"
                assert not any(life.over for life in lives), self.log()[-5:]
                time.sleep(0.2)

    def expected(self, name: str) -> Expected:
        """Compute the expected rows of an org."""
        return expected(self.orgs[name].events)

    def differences(self) -> list[str]:
        """Compare the database and the received messages with the orgs' own record; return the differences."""
        received = list(self.receiver.received)
        with closing(Database(self.place.url)) as database:
            stored = {
                name: rows(database, name)
                for name in (
                    "orgs",
                    "events",
                    "matches",
                    "allowed_matches",
                    "alerts",
                    "notifications",
                    "rejected_events",
                    "sightings",
                )
            }
        found = [
            difference
            for name in self.orgs
            for difference in org_differences(name, stored, self.expected(name), received)
        ]
        return [*found, *notification_differences(stored["notifications"], received)]

    def log(self) -> list[dict[str, Any]]:
        """Return the log of all daemons. The last line of a killed daemon may be incomplete."""
        lines = [
            line for folder in self._folders for line in (folder / "log").read_text("utf-8").splitlines()
        ]
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def _settled(self, database: Database, wanted: dict[str, Expected]) -> bool:
        if current(database) != tables.REVISION:
            return False
        now = datetime.now(UTC)
        with database.write() as connection:
            # Every transaction that changes many rows of the outbox takes this lock.
            database.lock(connection, "outbox of soc")
            connection.execute(_WAITING, {"now": now})
            connection.execute(_TOLD_LATELY, {"before": now - timedelta(hours=1)})
            pending = connection.execute(
                text("SELECT count(*) FROM notifications WHERE state = 'pending'")
            ).scalar_one()
            counts = text("SELECT org, count(*) FROM events GROUP BY org")
            seen = {row[0]: row[1] for row in connection.execute(counts)}
        return pending == 0 and all(seen.get(name, 0) == len(org.events) for name, org in wanted.items())

    def somebody_signs_in(self, name: str) -> None:
        """Add an event to an org."""
        draw, org = self.random, self.orgs[name]
        self._sign_ins[name] += 1
        if self._sign_ins[name] % UNUSABLE_EVERY == 0:
            org.persist(
                json.dumps({"uuid": None, "eventType": "user.session.start", "n": draw.random()}).encode()
            )
            return
        # Some events belong to alerts that were already sent, and some are from new people, so that there are new messages.
        stranger = draw.random() < 0.2
        # Most people have separate addresses, because a shared address would be a campaign with one message.
        elsewhere = f"192.0.2.{draw.randint(0, 255)}" if stranger else "203.0.113.7"
        if draw.random() < 0.15:
            elsewhere = ALLOWED
        self.signs_in(
            name,
            f"00u{draw.getrandbits(32) if stranger else draw.randint(1, 3)}",
            ago=draw.random() * timedelta(hours=draw.choice([0.5, 12])),
            ip="198.51.100.9" if draw.random() < 0.3 else elsewhere,
            proxy=draw.random() < 0.5,
            relay=draw.random() < 0.3,
        )

    def signs_in(
        self,
        name: str,
        who: str,
        *,
        ago: timedelta,
        ip: str = "203.0.113.7",
        proxy: bool = True,
        relay: bool = False,
    ) -> None:
        """Add a past sign-in to an org."""
        org = self.orgs[name]
        org.persist(
            {
                "uuid": str(uuid.UUID(int=self.random.getrandbits(128), version=4)),
                "published": (org.now() - ago).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "eventType": "user.session.start",
                "actor": {"id": who, "alternateId": f"{who}@example.com"},
                "client": {"ipAddress": ip},
                # Alerts rise with a success, which is tested elsewhere.
                "outcome": {"result": None if proxy else self.random.choice(["SUCCESS", "FAILURE"])},
                "securityContext": {"isProxy": proxy, **({"ipDetails": APPLE} if relay else {})},
            }
        )


@contextmanager
def world(place: Place, seed: int, names: Sequence[str] = NAMES) -> Iterator[World]:
    """Create the orgs and a receiver, and serve them."""
    with ExitStack() as stack:
        receiver = stack.enter_context(receiving())
        orgs = {name: SimulatedOrg() for name in names}
        urls = {name: stack.enter_context(running(org)) for name, org in orgs.items()}
        yield World(place, urls, orgs, receiver, seed)
