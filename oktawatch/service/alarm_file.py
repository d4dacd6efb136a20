"""Store the alarm about the database in a file, so that the next daemon can end it.

The alarm means that the database can't be written, so the alarm can't be stored there. If the daemon that raised the
alarm is killed or exits, the next daemon reads this file and ends the alarm.

The file is written before and after each attempt to send. If the process dies in between, a notifier may get the end
of an alarm that it never got: a superfluous message is better than an alarm that never ends.

The disk may be full. So the file gets its full size when the daemon starts, and its content is overwritten in place.
The content normally fits in one block of a disk, which is written completely or not at all. A damaged file is ignored.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import msgspec
import structlog

from oktawatch.engine.process_files import lock_free_file

_log: Any = structlog.get_logger(__name__)

_FILE_BYTES = 4096
_MAX_READ_BYTES = 1 << 20
_WRITE_WITHIN_S = 5.0
"""The timeout of a write, so that a disk that doesn't respond can't hold up the alarm."""


class DatabaseAlarm(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm about the database. It is stored until its end has been sent."""

    id: UUID
    since: Annotated[datetime, msgspec.Meta(tz=True)]
    error: str
    refused: tuple[str, ...] = ()
    """The jobs whose last writes were refused: see `DatabaseTrouble`."""
    notifiers: dict[str, bool] = {}
    """The notifiers that get the end of the alarm. True if a notifier received the alarm or refused it for good."""


class AlarmFile:
    """The alarm file of this process. If it can't be used, this is logged once, and the alarm is kept only in memory."""

    def __init__(self, path: Path) -> None:
        """Lock the first of the files ``PATH-0``, ``PATH-1``, … that no other process uses, and read it."""
        self._path = path
        self._handle: int | None = None
        self._writing: Future[None] | None = None
        """The latest write. Until it is done, only its thread uses the handle."""
        self._failed = False
        self.alarm: DatabaseAlarm | None = None
        """The alarm in the file. At first, this is the alarm of an earlier process."""
        try:
            self._open()
            self.alarm = self._read()
            self._overwrite(self.alarm)
        except OSError as error:
            self._log_failure(error.strerror or str(error))

    async def write(self, alarm: DatabaseAlarm | None) -> None:
        """Replace the content, unless an earlier write still waits for the disk. A failure of the disk is only logged."""
        if alarm == self.alarm and not self._failed:
            return
        if self._writing is not None and not self._writing.done():
            return  # the disk doesn't respond: one waiting thread is enough
        self._writing = _start(partial(self._overwrite, alarm))
        try:
            await asyncio.wait_for(asyncio.wrap_future(self._writing), _WRITE_WITHIN_S)
        except TimeoutError:
            self._log_failure("the disk doesn't respond")
        except OSError as error:
            self._log_failure(error.strerror or str(error))
        else:
            self.alarm, self._failed = alarm, False

    def close(self) -> None:
        """Unlock the file, as soon as no write waits for the disk. The file remains for the next process.

        A waiting write would otherwise continue in another file that is opened with the same descriptor.
        """
        if self._writing is None:
            self._release()
        else:
            self._writing.add_done_callback(lambda _: self._release())

    def _release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _open(self) -> int:
        """Open the file, or a new one if somebody has deleted it, for example together with the database."""
        if self._handle is not None and not os.fstat(self._handle).st_nlink:
            self._release()
        if self._handle is None:
            self._handle = lock_free_file(self._path)
        return self._handle

    def _read(self) -> DatabaseAlarm | None:
        content = os.pread(self._open(), _MAX_READ_BYTES, 0).strip()
        if not content:
            return None
        try:
            return msgspec.json.decode(content, type=DatabaseAlarm)
        except msgspec.MsgspecError as error:
            _log.warning("database_alarm_forgotten", path=str(self._path), error=str(error))
            return None

    def _overwrite(self, alarm: DatabaseAlarm | None) -> None:
        content = b"" if alarm is None else msgspec.json.encode(alarm)
        file = self._open()
        os.pwrite(file, content.ljust(_FILE_BYTES), 0)
        os.ftruncate(file, max(len(content), _FILE_BYTES))
        os.fsync(file)

    def _log_failure(self, error: str) -> None:
        if not self._failed:
            _log.warning("database_alarm_unsaved", path=str(self._path), error=error)
        self._failed = True


def _start(write: Callable[[], None]) -> "Future[None]":
    """Run a write in a daemon thread, so that a disk that doesn't respond can't delay the exit of the process."""
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()  # a timeout must not end the future before its thread ends

    def run() -> None:
        try:
            write()
        except BaseException as error:  # noqa: BLE001 -- `AlarmFile.write` raises it again, in the event loop
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=run, name="oktawatch-alarm", daemon=True).start()
    return future
