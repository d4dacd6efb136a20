"""Report the daemon's state to systemd with the sd_notify protocol.

A message is a datagram of ``KEY=value`` lines to the socket in ``$NOTIFY_SOCKET``: a path, or a name in the abstract
namespace with a leading ``@``. Without that variable, nothing is sent.

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
    """The service manager that started this process, if any."""

    def __init__(self, address: str = "", watchdog: timedelta | None = None) -> None:
        self._address = address if address.startswith(("/", "@")) else ""
        self.watchdog = watchdog
        """The time without WATCHDOG=1 after which systemd restarts the daemon; None without a watchdog."""
        self._status = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the variables that systemd sets."""
        return cls(environ.get("NOTIFY_SOCKET", ""), _watchdog(environ))

    def extend_timeout(self, by: timedelta) -> None:
        """Ask for more time to start or stop, counted from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={by // timedelta(microseconds=1)}")

    def ready(self) -> None:
        """Report that the start is complete."""
        self._send("READY=1")

    def stopping(self) -> None:
        """Report that the stop has begun."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Show a line in ``systemctl status``. An unchanged line is not sent again."""
        if text != self._status:
            self._status = text
            self._send("STATUS=" + text.replace("\n", " "))

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # The daemon also works if the manager doesn't listen.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(_TIMEOUT_S)
            # Connect first: without a connection, sending to a full queue would retry in a busy loop.
            manager.connect(address)
            manager.send(message.encode("utf-8", "replace"))


def _watchdog(environ: Mapping[str, str]) -> timedelta | None:
    """Parse the watchdog's timeout. Return None if there is none for this process."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    if not microseconds.isascii() or not microseconds.isdigit() or int(microseconds) == 0:
        return None
    return timedelta(microseconds=int(microseconds))
