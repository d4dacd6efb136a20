"""Report the daemon's state to systemd: sd_notify, in a few lines.

A message is one datagram of ``KEY=value`` lines to the socket that ``$NOTIFY_SOCKET`` names: a path, or
a name in the abstract namespace, written with a leading ``@``. Without that variable nothing is sent.

systemd: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Self

_TIMEOUT_S = 0.5  # a manager that doesn't read its socket must not hold up the loop


class Systemd:
    """The service manager that started this process, or none."""

    def __init__(self, address: str = "", watchdog: timedelta | None = None) -> None:
        self._address = address if address.startswith(("/", "@")) else ""
        self.watchdog = watchdog
        """The longest time without WATCHDOG=1 before it restarts the daemon; None if it doesn't."""
        self._status = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Find the manager by the variables that systemd sets."""
        return cls(environ.get("NOTIFY_SOCKET", ""), _watchdog(environ))

    def extend_timeout(self, by: timedelta) -> None:
        """Ask for more time to start or stop, counted from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={by // timedelta(microseconds=1)}")

    def ready(self) -> None:
        """Report that starting is over."""
        self._send("READY=1")

    def stopping(self) -> None:
        """Report that stopping has begun."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Show a line in ``systemctl status``; the same line is sent once."""
        if text != self._status:
            self._status = text
            self._send("STATUS=" + text.replace("\n", " "))

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # The daemon works whether or not anybody listens.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(_TIMEOUT_S)
            manager.sendto(message.encode("utf-8", "replace"), address)


def _watchdog(environ: Mapping[str, str]) -> timedelta | None:
    """Parse the watchdog's timeout, unless it is meant for another process."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    if not microseconds.isascii() or not microseconds.isdigit() or int(microseconds) == 0:
        return None
    return timedelta(microseconds=int(microseconds))
