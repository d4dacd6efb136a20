"""A slow host name delays neither other names nor the end of the process."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from oktawatch.resolver import Resolver
from oktawatch.systemlog.transport import open_session
from tests.support.waiting import eventually

SLOW = [f"org-{number}.example.com" for number in range(40)]


class Names:
    """A name service that answers one name at once, and the others when the test releases them."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.answers = threading.Event()

    def getaddrinfo(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        """Answer, now or later."""
        self.asked[host] += 1
        if host != "healthy.example.com":
            self.answers.wait()
        if host == "unknown.example.com":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    """Replace the system's name service."""
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.answers.set()


async def test_slow_names_do_not_delay_others(names: Names) -> None:
    """While forty names are slow, a shared session can reach a host whose name is resolved at once."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(text="here")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with open_session(None) as session, asyncio.TaskGroup() as group:
        waiting = [group.create_task(_get(session, f"http://{host}:{port}/")) for host in SLOW]
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            healthy = await _get(session, f"http://healthy.example.com:{port}/")
        ended = [task for task in waiting if task.done()]
        names.answers.set()
    await runner.cleanup()

    assert (healthy, ended) == ("here", [])
    assert [task.result() for task in waiting] == ["here"] * len(SLOW)


async def _get(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as response:
        return await response.text()


async def test_a_name_is_looked_up_once_at_a_time(names: Names) -> None:
    """Each name is resolved once at a time, and later requests wait for the running look-up."""
    for _ in range(5):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await Resolver().resolve(SLOW[0], 443)
    await eventually(lambda: names.asked[SLOW[0]] > 0)
    again = asyncio.create_task(Resolver().resolve(SLOW[0], 443))
    await asyncio.sleep(0)  # it joins the running look-up before that has an answer
    names.answers.set()

    assert [one["host"] for one in await again] == ["127.0.0.1"]
    assert names.asked[SLOW[0]] == 1
    await Resolver().resolve(SLOW[0], 443)
    assert names.asked[SLOW[0]] == 2


async def test_an_unknown_name_is_an_error(names: Names) -> None:
    """An unknown name raises an error, which is not cached."""
    names.answers.set()
    for _ in range(2):
        with pytest.raises(socket.gaierror, match="Name or service not known"):
            await Resolver().resolve("unknown.example.com", 443)

    assert names.asked["unknown.example.com"] == 2


def test_a_process_does_not_wait_for_a_look_up() -> None:
    """A thread in `getaddrinfo` can't be interrupted, so it is left behind."""
    code = """
import asyncio, socket, time
from oktawatch.resolver import Resolver
socket.getaddrinfo = lambda *_, **__: time.sleep(60)

async def main():
    try:
        async with asyncio.timeout(0.1):
            await Resolver().resolve("org.example.com", 443)
    except TimeoutError:
        print("gave up")

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "gave up\n", "")
