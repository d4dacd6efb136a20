"""The file of the alarm about the database, which the next process reads."""

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from oktawatch.service.alarm_file import AlarmFile, DatabaseAlarm

ALARM = DatabaseAlarm(
    id=uuid.UUID(int=7),
    since=datetime(2026, 11, 2, 12, tzinfo=UTC),
    error="the database refused (oktawatch.db): database or disk is full",
    refused=("poll acme", "probe"),
    notifiers={"soc": True, "mail": False},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the files, in a folder that does not exist yet."""
    return tmp_path / "state" / "oktawatch.db.alarm"


@pytest.fixture
def file(path: Path) -> Iterator[AlarmFile]:
    """Open the file."""
    with closing(AlarmFile(path)) as opened:
        yield opened


def _left_behind(path: Path) -> DatabaseAlarm | None:
    """Return what the next process finds."""
    with closing(AlarmFile(path)) as opened:
        return opened.alarm


async def test_the_next_process_finds_the_alarm(path: Path, file: AlarmFile) -> None:
    """The file contains what was written last, also if the process was killed."""
    for alarm in (ALARM, None, ALARM):
        await file.write(alarm)
        file.close()
        assert _left_behind(path) == alarm


async def test_an_alarm_needs_no_more_space_than_none(path: Path, file: AlarmFile) -> None:
    """An alarm needs no additional space, because the disk is usually full then: the file has its full size from the start."""
    (created,) = path.parent.iterdir()
    before = created.stat()
    await file.write(ALARM)
    assert b"soc" in created.read_bytes()
    assert created.stat().st_size == before.st_size == 4096
    assert created.stat().st_blocks == before.st_blocks
    assert before.st_blocks * 512 >= before.st_size
    assert created.stat().st_ino == before.st_ino
    assert created.stat().st_mode & 0o777 == 0o600


async def test_many_notifiers_fit(path: Path, file: AlarmFile) -> None:
    """An alarm that is longer than a block is stored, and a shorter one after it."""
    await file.write(
        DatabaseAlarm(
            id=ALARM.id, since=ALARM.since, error="", notifiers=dict.fromkeys(map(str, range(2000)), True)
        )
    )
    await file.write(ALARM)
    file.close()
    assert _left_behind(path) == ALARM


async def test_each_process_has_a_file_of_its_own(path: Path, file: AlarmFile) -> None:
    """Replicas with one state folder don't see each other's alarms while both run."""
    await file.write(ALARM)
    assert _left_behind(path) is None
    file.close()
    assert _left_behind(path) == ALARM


async def test_a_file_that_was_deleted_with_the_database_is_created_again(
    path: Path, file: AlarmFile
) -> None:
    """The file is created again after ``rm oktawatch.db*`` has deleted it, right before it is needed."""
    for created in path.parent.iterdir():
        created.unlink()
    await file.write(ALARM)
    file.close()
    assert _left_behind(path) == ALARM


@pytest.mark.parametrize(
    "content",
    [
        b"\0" * 4096,
        b"\xff\xfe",
        b"[]",
        b'{"id": "soc"}',
        b'{"id":"00000000-0000-0000-0000-000000000007","since":"2026-11-02T12:00:00","error":"","notifiers":{}}',
        b'{"id":"00000000-0000-0000-0000-000000000007","since":"2026-11-02T12:00:00Z","error":"","notifiers":7}',
    ],
)
def test_a_damaged_file_is_ignored_and_replaced(path: Path, content: bytes) -> None:
    """Garbage is logged in one line, and only once."""
    path.parent.mkdir()
    damaged = path.with_name(f"{path.name}-0")
    damaged.write_bytes(content)
    with capture_logs() as logs:
        assert _left_behind(path) is None
        assert _left_behind(path) is None
    assert [(line["event"], line["path"]) for line in logs] == [("database_alarm_forgotten", str(path))]
    assert damaged.read_bytes().strip() == b""


async def test_a_file_that_cannot_be_used_is_logged_once(tmp_path: Path) -> None:
    """Without the file the daemon runs, and uses it as soon as it can."""
    blocked = tmp_path / "state"
    blocked.touch()
    path = blocked / "oktawatch.db.alarm"
    with capture_logs() as logs, closing(AlarmFile(path)) as file:
        await file.write(ALARM)
        await file.write(ALARM)
        assert [line["event"] for line in logs] == ["database_alarm_unsaved"]
        blocked.unlink()
        await file.write(ALARM)
    assert _left_behind(path) == ALARM
    assert [line["event"] for line in logs] == ["database_alarm_unsaved"]


class StalledDisk:
    """A disk that doesn't respond until it is released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started = 0
        self.released = threading.Event()
        self.ended = threading.Event()
        self._pwrite, self._fsync = os.pwrite, os.fsync
        monkeypatch.setattr("oktawatch.service.alarm_file._WRITE_WITHIN_S", 0.01)
        monkeypatch.setattr("oktawatch.service.alarm_file.os.pwrite", self._write)
        monkeypatch.setattr("oktawatch.service.alarm_file.os.fsync", self._finish)

    def release(self) -> None:
        """Unblock the write, and wait until its thread has ended."""
        self.released.set()
        assert self.ended.wait(10)
        for thread in threading.enumerate():
            if thread.name == "oktawatch-alarm":
                thread.join()

    def _write(self, file: int, content: bytes, offset: int) -> int:
        self.started += 1
        assert self.released.wait(10)
        return self._pwrite(file, content, offset)

    def _finish(self, file: int) -> None:
        try:
            self._fsync(file)
        finally:
            self.ended.set()


async def test_a_disk_that_does_not_respond_delays_no_alarm(
    path: Path, file: AlarmFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that takes too long is logged, and no second write is started meanwhile."""
    with monkeypatch.context() as patched, capture_logs() as logs:
        disk = StalledDisk(patched)
        for _ in range(3):
            await file.write(ALARM)
        disk.release()
    assert (disk.started, [line["error"] for line in logs]) == (1, ["the disk doesn't respond"])
    await file.write(None)
    await file.write(ALARM)
    file.close()
    assert _left_behind(path) == ALARM


async def test_a_late_write_changes_no_other_file(
    path: Path, file: AlarmFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that outlives `close` finishes in its own file, and then unlocks it."""
    with monkeypatch.context() as patched:
        disk = StalledDisk(patched)
        await file.write(ALARM)
        file.close()
        with (tmp_path / "other").open("w+b", buffering=0) as other:
            other.write(b"another file")
            disk.release()
            assert (tmp_path / "other").read_bytes() == b"another file"
    assert _left_behind(path) == ALARM


_EXIT = """
import asyncio, os, pathlib, sys, threading

from oktawatch.service import alarm_file
from oktawatch.service.alarm_file import AlarmFile
from tests.unit.service.test_alarm_file import ALARM

file = AlarmFile(pathlib.Path(sys.argv[1]))
os.fsync = lambda _: threading.Event().wait()
alarm_file._WRITE_WITHIN_S = 0.01
asyncio.run(file.write(ALARM))
file.close()
"""


def test_a_disk_that_does_not_respond_delays_no_exit(path: Path) -> None:
    """A process exits although a write never ends."""
    ended = subprocess.run([sys.executable, "-c", _EXIT, str(path)], timeout=20, check=False)
    assert ended.returncode == 0
