"""The daemon stops within 5 s, also while it waits."""

import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from oktawatch.simulator import SimulatedOrg, running
from tests.support.daemon import STOPS_WITHIN, Daemon, until
from tests.support.logclient import event

pytestmark = pytest.mark.waits

SETTINGS = '[poll]\ninterval = "1s"\n[service]\nlog_format = "json"\n'
SLOW_NAMES = """
import socket, time
real = socket.getaddrinfo

def getaddrinfo(host, *arguments, **options):
    if str(host).endswith(".example.com"):
        time.sleep(60)
    return real(host, *arguments, **options)

socket.getaddrinfo = getaddrinfo
"""


def _org(url: str, token: str, name: str = "acme") -> str:
    return f'[[orgs]]\nname = "{name}"\nurl = "{url}"\ntoken = "{token}"\n'


def test_slow_name_resolution_delays_neither_other_orgs_nor_the_stop(tmp_path: Path) -> None:
    """Slow name resolution of forty orgs doesn't delay the polls of another org, or the end after SIGTERM."""
    org = SimulatedOrg()
    slow = "".join(_org(f"https://org-{n}.example.com", "00invented", f"org-{n}") for n in range(40))
    with running(org) as url:
        text = SETTINGS + slow + _org(url.replace("127.0.0.1", "localhost"), org.token)
        with Daemon(tmp_path, text, sitecustomize=SLOW_NAMES) as daemon:
            daemon.wait_for_message("READY=1")
            until(lambda: len(org.requests) >= 5, "polls of the org whose name is found")
            code, seconds = daemon.stop()

    assert (code, seconds < STOPS_WITHIN) == (0, True)


def test_an_unread_log_delays_neither_polls_nor_the_stop(tmp_path: Path) -> None:
    """A full pipe loses log lines, and delays nothing."""
    org = SimulatedOrg()
    org.persist(event(0, datetime.now(UTC), securityContext={"isProxy": True}))
    reader, full = os.pipe()
    os.set_blocking(full, False)
    while True:
        try:
            os.write(full, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(full, True)
    try:
        with running(org) as url, Daemon(tmp_path, SETTINGS + _org(url, org.token), stderr=full) as daemon:
            daemon.wait_for_message("READY=1")
            until(lambda: len(org.requests) >= 5, "polls")
            code, seconds = daemon.stop(signal.SIGTERM)
    finally:
        os.close(reader)
        os.close(full)

    assert (code, seconds < STOPS_WITHIN) == (0, True)
