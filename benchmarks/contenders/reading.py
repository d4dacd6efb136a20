"""What the contenders share: their command line, following the `next` links, and the line that they print.

aiohttp is left as it comes, but for two things that a contender may want and that are worth a number of their
own: `--inflate` names the library that inflates gzipped pages, and with `--ahead` the next page is asked for
before this one is processed, so that it arrives in the socket's buffer meanwhile.
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
    """What a contender did, and the seconds from before its first request to after its last commit."""

    events: int = 0
    matches: int = 0
    seconds: float = 0.0


class Contender(Protocol):
    """A program: it is made with the path of a new SQLite file, and is then handed page after page."""

    def page(self, body: bytes, cursor: str, measured: Measured) -> None:
        """Process one page and the cursor after it, and count what was in it."""


def arguments() -> argparse.ArgumentParser:
    """Return the command line that every contender has."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ready", help="what the server said when it was ready, as JSON")
    parser.add_argument("database", help="a SQLite file that does not exist yet")
    return parser


def report(measured: Measured) -> None:
    """Print what was measured, as the line of JSON that is expected of a contender."""
    print(json.dumps(dataclasses.asdict(measured)))


def main(make: Callable[[str], Contender]) -> None:
    """Run a contender over the whole window; print what was measured."""
    parser = arguments()
    parser.add_argument("--inflate", choices=("zlib", "isal"), default="zlib")
    parser.add_argument("--ahead", action="store_true")
    given = parser.parse_args()
    if given.inflate == "isal":
        aiohttp.set_zlib_backend(isal_zlib)
    ready = machine.Ready(**json.loads(given.ready))
    report(asyncio.run(_run(make(given.database), ready, ahead=given.ahead)))


async def _run(contender: Contender, ready: machine.Ready, *, ahead: bool) -> Measured:
    """Hand the contender every page, one after the other."""
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
        began = time.perf_counter()
        body, following = await _page(session, first)
        while following:
            fetching = asyncio.create_task(_page(session, following)) if ahead else None
            await asyncio.sleep(0)  # the request goes out before this page takes the loop for itself
            contender.page(body, following, measured)
            body, following = await (fetching or _page(session, following))
        contender.page(body, following, measured)
        measured.seconds = time.perf_counter() - began
    return measured


async def _page(session: aiohttp.ClientSession, url: str) -> tuple[bytes, str]:
    """Return a page's bytes and the link to the page after it, which is empty on the last."""
    async with session.get(yarl.URL(url, encoded=True)) as response:
        response.raise_for_status()
        following = response.links.get("next")
        return await response.read(), str(following["url"]) if following else ""
