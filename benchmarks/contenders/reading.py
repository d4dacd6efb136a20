"""The shared parts of the contenders: the command line, following `next` links, and the output.

aiohttp is used with its defaults, except for two options that are measured separately. `--inflate` selects the library that
decompresses gzipped pages. With `--ahead`, the next page is requested before this page is processed.
"""

import argparse
import asyncio
import dataclasses
import json
import time
import urllib.parse
from collections.abc import Callable
from typing import Protocol

import aiohttp
import yarl
from isal import isal_zlib

from benchmarks import machine
from benchmarks.server import FILTER, PAGE_SIZE, PATH

ORG = "bench"


@dataclasses.dataclass(slots=True)
class Measured:
    """The result of a contender. `seconds` is the time from before its first request to after its last commit."""

    events: int = 0
    matches: int = 0
    seconds: float = 0.0


class Contender(Protocol):
    """A program that processes pages. It is created with the path of a new SQLite file."""

    def page(self, body: bytes, cursor: str, measured: Measured) -> None:
        """Process a page and the cursor after it, and add its counts to `measured`."""


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the arguments that all contenders have."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ready", help="the JSON that the server printed when it was ready")
    parser.add_argument("database", help="an SQLite file that does not exist yet")
    return parser


def report(measured: Measured) -> None:
    """Print the result as a line of JSON."""
    print(json.dumps(dataclasses.asdict(measured)))


def main(make: Callable[[str], Contender]) -> None:
    """Run a contender over the whole window, and print the result."""
    parser = arguments()
    parser.add_argument("--inflate", choices=("zlib", "isal"), default="zlib")
    parser.add_argument("--ahead", action="store_true")
    given = parser.parse_args()
    if given.inflate == "isal":
        aiohttp.set_zlib_backend(isal_zlib)
    ready = machine.Ready(**json.loads(given.ready))
    report(asyncio.run(_run(make(given.database), ready, ahead=given.ahead)))


async def _run(contender: Contender, ready: machine.Ready, *, ahead: bool) -> Measured:
    """Pass all pages to the contender, one after the other."""
    measured = Measured()
    query = {
        "since": ready.since,
        "until": ready.until,
        "filter": FILTER,
        "limit": f"{PAGE_SIZE}",
        "sortOrder": "ASCENDING",
    }
    first = f"{ready.url}{PATH}?{urllib.parse.urlencode(query)}"
    async with aiohttp.ClientSession(headers={"Authorization": "SSWS bench"}) as session:
        started = time.perf_counter()
        body, following = await _page(session, first)
        while following:
            fetching = asyncio.create_task(_page(session, following)) if ahead else None
            await asyncio.sleep(0)  # send the request before the processing of this page blocks the loop
            contender.page(body, following, measured)
            body, following = await (fetching or _page(session, following))
        contender.page(body, following, measured)
        measured.seconds = time.perf_counter() - started
    return measured


async def _page(session: aiohttp.ClientSession, url: str) -> tuple[bytes, str]:
    """Return the bytes of a page and the link to the next page, which is empty on the last."""
    async with session.get(yarl.URL(url, encoded=True)) as response:
        response.raise_for_status()
        following = response.links.get("next")
        return await response.read(), str(following["url"]) if following else ""
