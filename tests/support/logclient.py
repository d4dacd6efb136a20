"""A minimal client of the System Log, for tests of the simulated org."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

TOKEN = "00simulated-token"
NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


class Clock:
    """A clock that moves only when the test advances it."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        """Return the clock's time."""
        return self.time


class Answer:
    """A response: status, headers and body. `url` is the request's URL as sent."""

    def __init__(self, status: int, url: str, headers: CIMultiDictProxy[str], body: bytes) -> None:
        self.status = status
        self.url = url
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        """The body, parsed as JSON."""
        return json.loads(self.body)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the events, which `event` has set."""
        return [found["number"] for found in self.json]

    @property
    def links(self) -> dict[str, str]:
        """The URLs of the Link headers, by rel."""
        found = (re.fullmatch(r'<([^<>]+)>; rel="(\w+)"', line) for line in self.headers.getall("Link", []))
        return {match[2]: match[1] for match in found if match}


class Client:
    """A client of one org that follows links unchanged, and no redirects."""

    def __init__(self, base: str, session: aiohttp.ClientSession) -> None:
        self.base = base
        self._session = session

    async def get(self, url: str, **headers: str) -> Answer:
        """Request a path, or a URL without changing it."""
        target = url if url.startswith("http") else self.base + url
        address = URL(target, encoded=True)
        async with self._session.get(address, headers=headers, allow_redirects=False) as response:
            return Answer(response.status, target, response.headers, await response.read())

    async def logs(self, **params: str) -> Answer:
        """Request the System Log with these parameters."""
        return await self.get(str(URL(self.base + "/api/v1/logs").with_query(params)))


def event(number: int, published: datetime = NOW, **fields: Any) -> dict[str, Any]:
    """Return a minimal event with a number."""
    text = published.strftime("%Y-%m-%dT%H:%M:%S.") + f"{published.microsecond // 1000:03d}Z"
    return {
        "uuid": f"u-{number}",
        "number": number,
        "eventType": "user.session.start",
        "published": text,
    } | fields
