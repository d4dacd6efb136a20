"""A careful reader loses nothing: it can recover from every fault of the simulated org.

The reader is the simplest correct one. It repeats a request whose answer is not a page, starts again further back when
its cursor is refused, keeps the first event of each uuid, and reads recent events again with bounded requests.
"""

import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
from yarl import URL

from oktawatch.simulator import SimulatedOrg, broken, delay, faults, serve
from tests.support.logclient import NOW, TOKEN, Answer, Client, Clock, event

MINUTE = timedelta(minutes=1)
OVERLAP = 30 * MINUTE
LATEST = 20 * MINUTE


class Reader:
    """Reads an org page by page, in virtual time."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self.seen: dict[str, Any] = {}
        self.late = 0
        self._client = client
        self._clock = clock
        self._cursor: str | None = None

    async def poll(self) -> None:
        """Poll until caught up, as far as the org permits."""
        while True:
            since = (self._clock.time - OVERLAP).isoformat()
            url = self._cursor or str(URL("/api/v1/logs").with_query(since=since, limit="20"))
            answer = await self._page(url)
            self._clock.time += timedelta(seconds=5)
            if answer is None:
                return
            if answer.status == 400:
                self._cursor = None
                continue
            found = self._take(answer)
            following = answer.links.get("next", "")
            if not found or not following.startswith(f"{self._client.base}/") or following == url:
                return
            self._cursor = following

    async def sweep(self) -> None:
        """Read the last hours again, for late events."""
        until = self._clock.time - LATEST
        params = {"since": (until - 4 * OVERLAP).isoformat(), "until": until.isoformat(), "limit": "1000"}
        while True:
            answer = await self._page(str(URL("/api/v1/logs").with_query(params)))
            self._clock.time += timedelta(seconds=5)
            if answer is not None and answer.status == 200 and "next" not in answer.links:
                before = len(self.seen)
                self._take(answer)
                self.late += len(self.seen) - before
                return

    async def _page(self, url: str) -> Answer | None:
        """Return the answer if it is a page or a 400, otherwise None."""
        try:
            answer = await self._client.get(url)
        except (aiohttp.ClientError, OSError):
            return None
        if answer.status == 400:
            return answer
        try:
            return answer if answer.status == 200 and _is_page(answer.json) else None
        except ValueError:
            return None

    def _take(self, answer: Answer) -> int:
        for found in answer.json:
            self.seen.setdefault(found["uuid"], found)
        return len(answer.json)


def _is_page(body: object) -> bool:
    """Return whether a body is a list of events with a uuid. The elements of `faults.bomb` have none."""
    return isinstance(body, list) and all("uuid" in element for element in body)


def traffic(start: datetime) -> Iterator[tuple[datetime, dict[str, Any] | bytes]]:
    """Yield an event every half minute, some of them malformed."""
    odd = itertools.cycle(
        [broken.USABLE["nul"], broken.USABLE["surrogate"], broken.USABLE["text_for_object"]]
    )
    for number in itertools.count():
        moment = start + number * MINUTE / 2
        made = event(number, moment - timedelta(seconds=number % 7))
        yield moment, next(odd)(made) if number % 50 == 49 else made


@pytest.mark.parametrize("seed", range(4))
async def test_the_client_loses_no_event_with_any_fault(seed: int) -> None:
    """The reader gets every event in two virtual days with every fault, late events and forgotten cursors."""
    clock = Clock()
    org = SimulatedOrg(now=clock, token=TOKEN, rate_limit=60, others=20)
    org.play(delay(traffic(NOW), share=0.02, by=LATEST, seed=seed))
    org.faults.between(NOW + 600 * MINUTE, NOW + 620 * MINUTE, faults.refused_token())
    org.faults.some(0.3, faults.every(), seed=seed)
    headers = {"Authorization": f"SSWS {TOKEN}"}
    async with serve(org) as url, aiohttp.ClientSession(headers=headers) as session:
        reader = Reader(Client(url, session), clock)
        for minute in range(0, 2880, 10):
            clock.time = max(clock.time, NOW + minute * MINUTE)
            await reader.poll()
            if minute % 60 == 50:
                await reader.sweep()
            if minute % 700 == 350:
                org.cursors.forget()
        org.faults.clear()
        clock.time += LATEST
        await reader.poll()
        await reader.sweep()
    settled = (clock.time - LATEST - MINUTE).isoformat()
    settled_events = [found for found in org.events if found["published"] < settled]
    assert {found["uuid"] for found in settled_events} <= reader.seen.keys()
    assert all(reader.seen[found["uuid"]] == found for found in settled_events)
    assert len(settled_events) > 5000
    assert reader.late > 10
    assert org.violations == 0
    injected = {found.fault for found in org.requests}
    assert injected >= {fault.name for fault in faults.every()}
