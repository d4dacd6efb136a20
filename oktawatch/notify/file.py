"""The channel for programs that follow a file: one JSON document per line, in ECS or OCSF.

A line is appended with one write and is on the disk before the notification counts as sent. The file is opened for each
line, so that logrotate can rename or delete it at any time. A full disk can truncate a line. The next write then begins
with a line break, so that only the truncated line is unreadable. The notification of that line is retried with the same id.
"""

import asyncio
import fcntl
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from oktawatch.config.errors import invalid_value
from oktawatch.config.notifiers import NotifierSettings
from oktawatch.config.validators import File
from oktawatch.formats import ecs, ocsf
from oktawatch.formats.values import json_line
from oktawatch.model.timestamps import to_text, utc_now
from oktawatch.notify.channel import DIRECT, DeliveryError, Way
from oktawatch.notify.message import Message

_MODE = 0o640
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY  # a pipe or device must not block
_ACTIVITIES = {"alert.opened": ocsf.Activity.CREATE, "alert.closed": ocsf.Activity.CLOSE}


class FileSettings(NotifierSettings):
    """Keys of a notifier of type ``file``."""

    path: File = None
    """The file. A missing file is created, but not a missing folder."""
    format: Literal["ecs", "ocsf"] = "ecs"
    max_per_minute: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _has_only_a_path(self) -> "FileSettings":
        self.refuse_receiver("writes to path")
        if self.path is None:
            raise invalid_value("path", expected="expected the path of a file", what="missing key")
        return self


class FileChannel:
    """Appends messages to a file."""

    Settings = FileSettings

    def __init__(
        self,
        settings: FileSettings,
        way: Way = DIRECT,  # noqa: ARG002 -- every channel takes it
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        if settings.path is None:
            raise ValueError("expected a path")
        self._path = settings.path
        self._format = settings.format
        self._now = now
        self._write: Future[None] | None = None

    async def send(self, message: Message) -> None:
        """Append a message and wait for the disk. Raise DeliveryError if that fails."""
        if self._write is not None and not self._write.done():
            raise DeliveryError("the previous write has not ended: check the file system")
        line = json_line(_document(message, self._format, to_text(self._now())))
        self._write = _start(lambda: _append(self._path, line.encode() + b"\n"))
        try:
            await asyncio.shield(asyncio.wrap_future(self._write))
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise DeliveryError(f"{self._path} can't be written: {reason}") from None

    def find_problem(self) -> str | None:
        """Return why the file can't be written and how to fix this. None if it can be written. Changes nothing."""
        path, folder = self._path, self._path.parent
        try:
            if not folder.is_dir():
                return f"there is no folder {folder}: create it for the user of oktawatch"
            exists = path.exists()
        except (
            OSError
        ) as error:  # for example, a folder that this user can't search, or a name that is too long
            return f"{path} can't be opened ({error.strerror}): permit this user to search its folder, or choose another path"
        if exists and not path.is_file():
            return f"{path} is not a regular file: choose another path"
        writable = os.access(path, os.R_OK | os.W_OK) if exists else os.access(folder, os.W_OK | os.X_OK)
        return None if writable else f"this user can't write {path}: change its owner or that of its folder"

    async def close(self) -> None:
        """Do nothing: no file stays open."""


def _document(message: Message, format_: str, at: str) -> dict[str, Any]:
    alert = message.body.get("alert")
    if alert is None:
        if format_ == "ecs":
            return ecs.other_document(
                message.type, message.heading, message.body, document_id=message.id, at=at
            )
        return ocsf.base_event(
            message.type, message.heading, message.severity, message.body, document_id=message.id, at=at
        )
    incident = message.incident or message.id
    if format_ == "ecs":
        return ecs.alert_document(
            alert, document_id=message.id, incident_id=incident, notification=message.type
        )
    activity = _ACTIVITIES.get(message.type, ocsf.Activity.UPDATE)
    return ocsf.finding(alert, document_id=message.id, incident_id=incident, activity=activity)


def _start(write: Callable[[], None]) -> "Future[None]":
    """Run a write in a daemon thread, so that a hanging file system delays neither the event loop nor the exit."""
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            write()
        except BaseException as error:  # noqa: BLE001 -- otherwise the sender would wait forever
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=run, name="oktawatch-file", daemon=True).start()
    return future


def _append(path: Path, line: bytes) -> None:
    """Append a line and wait for the disk. Raises OSError."""
    descriptor = _open(path)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(None, "it is not a regular file")
        # Another process may append to the file, too.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        if os.write(descriptor, line) < len(line):
            raise OSError(None, "no space left on device")
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    with suppress(FileExistsError):
        descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE)
        os.fchmod(descriptor, _MODE)  # the umask can have removed the group's permission
        return descriptor
    return os.open(path, _FLAGS)
