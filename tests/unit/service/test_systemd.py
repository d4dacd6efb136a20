"""Messages to systemd, on both kinds of socket and without one."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from oktawatch.service.systemd import Systemd


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """Listen as systemd does. Yield the value of NOTIFY_SOCKET, and the socket."""
    name = f"@oktawatch-test-{os.getpid()}"
    address = str(tmp_path / "notify") if request.param == "a path" else name
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        listening.settimeout(5)
        yield address, listening


def test_each_message_is_one_datagram(manager: tuple[str, socket.socket]) -> None:
    """Each message is one datagram in systemd's format."""
    address, listening = manager
    systemd = Systemd.from_environment({"NOTIFY_SOCKET": address})

    systemd.ready()
    systemd.alive()
    systemd.status("watching\n3 orgs")
    systemd.stopping()

    received = [listening.recv(1000) for _ in range(4)]
    assert received == [b"READY=1", b"WATCHDOG=1", b"STATUS=watching 3 orgs", b"STOPPING=1"]


def test_an_unchanged_status_is_sent_once(manager: tuple[str, socket.socket]) -> None:
    """An unchanged status is sent once."""
    address, listening = manager
    systemd = Systemd(address)

    for text in ("one", "one", "two"):
        systemd.status(text)
    systemd.alive()

    assert [listening.recv(1000) for _ in range(3)] == [b"STATUS=one", b"STATUS=two", b"WATCHDOG=1"]


def test_a_manager_that_does_not_read_costs_no_processor_time(manager: tuple[str, socket.socket]) -> None:
    """While the manager's queue is full, a message waits asleep for half a second, and is then dropped."""
    address, listening = manager
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, suppress(BlockingIOError):
        other.setblocking(False)
        while True:
            other.sendto(b"WATCHDOG=1", listening.getsockname())

    begun, spent = time.monotonic(), time.thread_time()
    Systemd(address).ready()

    assert time.monotonic() - begun > 0.4
    assert time.thread_time() - spent < 0.1


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234", "/nowhere/at/all"])
def test_sending_without_a_manager_is_no_error(address: str | None) -> None:
    """Without a manager, or with one that is gone, sending is no error."""
    systemd = Systemd.from_environment({} if address is None else {"NOTIFY_SOCKET": address})

    systemd.ready()
    systemd.stopping()

    assert systemd.watchdog is None


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WATCHDOG_USEC": "120000000"}, timedelta(minutes=2)),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": str(os.getpid())}, timedelta(minutes=2)),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_timeout_is_parsed(environ: dict[str, str], expected: timedelta | None) -> None:
    """The watchdog's timeout is parsed if it is valid and meant for this process."""
    assert Systemd.from_environment(environ).watchdog == expected
