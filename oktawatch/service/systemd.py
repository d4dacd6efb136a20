"""What systemd is told about the daemon: sd_notify, in a few lines.

A message is one datagram of ``KEY=value`` lines to the socket that ``$NOTIFY_SOCKET`` names: a path, or
a name in the abstract namespace, written with a leading ``@``. Started by anything else, the daemon has
no such variable and tells nobody.

systemd: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Self

_PATIENCE = 0.5  # seconds: a manager that doesn't read its socket must not hold up the loop


class Systemd:
    """The manager that started us, or nobody."""

    def __init__(self, address: str = "", watchdog: timedelta | None = None) -> None:
        self._address = address if address.startswith(("/", "@")) else ""
        self.watchdog = watchdog
        """After how long without WATCHDOG=1 it starts the daemon anew; None when it does not care."""
        self._status = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Find the manager where systemd leaves its address."""
        return cls(environ.get("NOTIFY_SOCKET", ""), _watchdog(environ))

    def extend_timeout(self, by: timedelta) -> None:
        """Ask for more time to start or stop, counted from now."""
        self._tell(f"EXTEND_TIMEOUT_USEC={by // timedelta(microseconds=1)}")

    def ready(self) -> None:
        """Report that starting is over."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._tell("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Show a line in ``systemctl status``; the same line is told once."""
        if text != self._status:
            self._status = text
            self._tell("STATUS=" + text.replace("\n", " "))

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # Whether anybody listens is not the daemon's concern.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(_PATIENCE)
            manager.sendto(message.encode("utf-8", "replace"), address)


def _watchdog(environ: Mapping[str, str]) -> timedelta | None:
    """Read the watchdog's time-out, unless it is meant for another process."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    if not microseconds.isascii() or not microseconds.isdigit() or int(microseconds) == 0:
        return None
    return timedelta(microseconds=int(microseconds))
