"""If an SQLite file can't be written, a real receiver gets one alarm without the outbox, and one message when it is over."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import event

from oktawatch.config.notifiers import NotifierSettings
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.process_files import process_path
from oktawatch.notify.channel import DIRECT
from oktawatch.notify.webhook import WebhookChannel
from oktawatch.service.alarm_file import AlarmFile
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.database_watch import DatabaseWatch
from oktawatch.service.presence import Presence
from oktawatch.service.silence import check_interval
from oktawatch.store import sqlite
from tests.support.databases import NOW, create_schema
from tests.support.http import HttpReceiver, listening

AFTER = timedelta(minutes=15)
Break = Callable[["World"], AbstractContextManager[None]]


class World:
    """A daemon's database watch with a receiver, and a clock that the test advances."""

    def __init__(self, file: Path, receiver: HttpReceiver) -> None:
        self.file = file
        self.receiver = receiver
        self.time_s = 0.0
        self.lost = 0
        self.executor = DatabaseExecutor(f"sqlite:///{file}", create=True)
        self.presence = Presence("web-1", lambda: NOW)
        self.trouble = DatabaseTrouble(lost=self._lose, clock=self._clock)
        settings = NotifierSettings.model_validate(
            {"name": "soc", "type": "webhook", "url": SecretStr(receiver.url)}
        )
        self.channel = WebhookChannel(settings, DIRECT)
        self.alarm_file = AlarmFile(process_path(self.executor.database, "alarm"))
        self.watch = DatabaseWatch(
            self.executor,
            self.trouble,
            {"soc": self.channel},
            alarm_file=self.alarm_file,
            write=self.presence.write,
            after=AFTER,
            now=lambda: NOW + timedelta(seconds=self.time_s),
            clock=self._clock,
        )

    async def live(self, duration: timedelta) -> None:
        """Advance the time, and run the watch's rounds."""
        every_s = check_interval(AFTER).total_seconds()
        for _ in range(int(duration.total_seconds() / every_s)):
            self.time_s += every_s
            await self.watch.round()
            self.watch.silence_checked()

    @property
    def received(self) -> list[dict[str, Any]]:
        """The messages that the receiver got."""
        return [request.json for request in self.receiver.received]

    def _clock(self) -> float:
        return self.time_s

    def _lose(self) -> None:
        self.lost += 1


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Open a file with a schema, and a receiver."""
    monkeypatch.setattr(sqlite, "LOCK_SLICE_S", 0.01)
    monkeypatch.setattr("oktawatch.store.backend.LOCK_DEADLINE_S", 0.02)
    async with listening() as receiver:
        made = World(tmp_path / "oktawatch.db", receiver)
        await made.executor.run(create_schema)
        yield made
        made.executor.stop()
        await made.watch.close()
        await made.channel.close()
        made.executor.close()
        made.alarm_file.close()


@contextmanager
def _pragma(world: World, broken: str, mended: str) -> Iterator[None]:
    pragma = [broken]

    def apply(connection: sqlite3.Connection, *_: Any) -> None:
        connection.execute(f"PRAGMA {pragma[0]}")

    event.listen(world.executor.database._engine, "checkout", apply)
    yield
    pragma[0] = mended


@contextmanager
def _full(world: World) -> Iterator[None]:
    """Limit the file to its size, and write a row that is larger than its free pages."""
    world.presence.state = "x" * 4_000_000
    with _pragma(world, "max_page_count = 1", "max_page_count = 1000000"):
        yield


@contextmanager
def _read_only(world: World) -> Iterator[None]:
    """Refuse writes as a file system does that was mounted read-only after an error."""
    with _pragma(world, "query_only = ON", "query_only = OFF"):
        yield


@contextmanager
def _locked(world: World) -> Iterator[None]:
    """Hold the lock, as a forgotten SQL session does."""
    with closing(sqlite3.connect(world.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (_full, "database or disk is full"),
        (_read_only, "attempt to write a readonly database"),
        (_locked, "database is locked"),
    ],
    ids=["full", "read-only", "locked"],
)
async def test_an_unwritable_file_raises_an_alarm(world: World, broken: Break, error: str) -> None:
    """The alarm is sent within `silence.after` and one interval, even without a page to write, and its end is sent once."""
    await world.live(timedelta(minutes=5))
    with broken(world):
        await world.live(AFTER)
        assert world.received == []
        await world.live(check_interval(AFTER))
        (raised,) = world.received
        await world.live(timedelta(hours=1))
    await world.live(timedelta(minutes=2))

    assert raised["type"] == "silence.raised"
    about = raised["silence"]["about"][0]
    assert (about["what"], about["error"].endswith(error)) == ("database", True)
    assert [message["type"] for message in world.received] == ["silence.raised", "silence.over"]
    assert world.lost == 0


async def test_a_deleted_file_raises_an_alarm_at_once(world: World) -> None:
    """If the file is deleted, the daemon sends an alarm and ends, because its writes would be lost."""
    world.file.unlink()
    await world.watch.round()
    await world.watch.send_last_alarm()

    (raised,) = world.received
    assert world.lost == 1
    about = raised["silence"]["about"][0]
    assert about["lost"] is True
    assert "was deleted or replaced while it was open" in about["error"]
