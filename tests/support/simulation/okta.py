"""A model of Okta in virtual time. It creates events and answers polls and bounded queries.

It produces the bytes and headers of answers, and shares no code with the program that parses them. It guarantees what Okta
guarantees: polling returns events in the order of persistence and skips only late events, and a cursor keeps its position
until Okta refuses it. A test can break everything else.
"""

import heapq
import itertools
import json
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs, urlencode

URL = "https://acme.okta.com"
PATH = "/api/v1/logs"
PEOPLE = 12
LATEST = timedelta(minutes=8)
"""The maximum delay of an event. Sweeps must reach back at least as far."""
_EVERY_S = 45.0  # the average interval between two events


class Refusal(Exception):  # noqa: N818 -- an answer from Okta
    """An error response instead of a page."""

    def __init__(self, status: int, date: datetime) -> None:
        super().__init__(status)
        self.status = status
        self.date = date


@dataclass(frozen=True)
class Answer:
    """A page as bytes and headers."""

    body: bytes
    links: list[str]
    date: str


@dataclass(frozen=True)
class OrgEvent:
    """An event of the org."""

    uuid: str
    published: datetime
    persisted: datetime
    proxied: bool
    polled: bool
    """Whether polling returns the event. If not, it was persisted behind the cursor, and only a sweep finds it."""
    body: dict[str, object] = field(hash=False)


class OktaModel:
    """A model of one org."""

    def __init__(self, seed: int, now: Callable[[], datetime]) -> None:
        self._now = now
        self._rng = random.Random(seed)
        self._numbers = itertools.count(1)
        self._next = now()
        self._coming: list[tuple[datetime, int, OrgEvent]] = []
        self.log: list[OrgEvent] = []
        """The events that bounded queries return, in the order of persistence."""
        self._stream: list[OrgEvent] = []
        """The events that polling returns, in the order of persistence."""
        self._generation = 0
        self._frozen: int | None = None
        self._links = itertools.count(1)
        self.trouble: str = "none"
        """The current failure of all requests, or ``none``."""
        self.oddities: list[str] = []
        """Defects of the next answers. The last element applies to the next answer."""
        self.quiet = False
        """Whether the model has stopped creating events by itself."""
        self.covered: Counter[str] = Counter()

    def create_events(self, kind: str, count: int) -> None:
        """Create ``count`` events now. ``kind`` is their defect, such as a wrong date."""
        now = self._now()
        for _ in range(count):
            published, delay, polled = now - timedelta(seconds=self._rng.random() * 3), timedelta(), True
            match kind:
                case "late":
                    delay = self._rng.random() * LATEST
                case "unpolled":
                    delay, polled = self._rng.random() * LATEST, False
                case "future":
                    published = now + timedelta(days=self._rng.choice([0.05, 2, 400]))
                case "absurd":
                    year = self._rng.choice([1, 1970, 2099, 9999])
                    published = datetime(year, 1, 1, 12, tzinfo=UTC)
                case "old":
                    published = now - timedelta(days=self._rng.choice([0.1, 3, 200]))
            self._add(published, now + delay, polled=polled)
        self.covered[f"events {kind}"] += count

    def forget_cursors(self) -> None:
        """Refuse all cursors of earlier answers."""
        self._generation += 1

    def catch_up(self) -> None:
        """Create the regular events up to now, and persist the events that are due."""
        now = self._now()
        while self._next <= now and not self.quiet:
            self._add(self._next, self._next + timedelta(seconds=self._rng.random() * 2), polled=True)
            self._next += timedelta(seconds=self._rng.expovariate(1 / _EVERY_S))
        while self._coming and self._coming[0][0] <= now:
            due = heapq.heappop(self._coming)[2]
            self.log.append(due)
            if due.polled:
                self._stream.append(due)

    def answer(self, query: str) -> Answer:
        """Answer a request. Raises Refusal."""
        self.catch_up()
        self.covered["requests"] += 1
        path, _, encoded = query.partition("?")
        assert path == PATH
        parameters = {name: values[0] for name, values in parse_qs(encoded).items()}
        limit = int(parameters["limit"])
        if "until" in parameters:
            return self._bounded(parameters, limit, query)
        return self._polling(parameters, limit, query)

    def _add(self, published: datetime, persisted: datetime, *, polled: bool) -> None:
        number = next(self._numbers)
        published = published.replace(microsecond=published.microsecond // 1000 * 1000)
        proxied = self._rng.random() < 0.8
        person = self._rng.randrange(PEOPLE)
        body: dict[str, object] = {
            "uuid": f"00000000-0000-4000-8000-{number:012d}",
            "published": _text(published),
            "eventType": "user.session.start",
            "outcome": {"result": self._rng.choice(["SUCCESS", "FAILURE"])},
            "actor": {"id": f"00u{person}", "alternateId": f"user{person}@example.com"},
            "client": {"ipAddress": f"203.0.113.{self._rng.randrange(200)}"},
            "securityContext": {"isProxy": proxied, "asNumber": 64496 + self._rng.randrange(9)},
        }
        event = OrgEvent(str(body["uuid"]), published, persisted, proxied, polled, body)
        heapq.heappush(self._coming, (persisted, number, event))

    def _polling(self, parameters: dict[str, str], limit: int, query: str) -> Answer:
        if "after" in parameters:
            place = self._cursor(parameters["after"])
            start = int(place[0])
        else:
            since = _moment(parameters["since"])
            start = bisect_left(self._stream, since, key=lambda one: one.persisted)
        oddity = self.oddities.pop() if self.oddities else None
        events = self._stream[start : start + limit]
        following = start + len(events)
        if self.trouble == "repeats":
            if self._frozen is None and events:
                self._frozen = start
            if self._frozen is not None:
                events = self._stream[self._frozen : self._frozen + limit]
                following = self._frozen
        else:
            self._frozen = None
        match oddity:
            case "short":
                events = events[: self._rng.randrange(limit)]
                following = start + len(events)
            case "empty":
                events, following = [], start
        if self.trouble == "repeats":
            after = f"p.{self._generation}.{following}.{next(self._links)}"
        else:
            after = f"p.{self._generation}.{following}"
        link = f"{PATH}?{urlencode({'after': after, 'limit': limit})}"
        if self.trouble == "links to itself":
            link = query
        return self._page(events, link, query, oddity)

    def _bounded(self, parameters: dict[str, str], limit: int, query: str) -> Answer:
        since, until = _moment(parameters["since"]), _moment(parameters["until"])
        found = sorted(
            (one for one in self.log if since <= one.published < until),
            key=lambda one: (one.published, one.uuid),
        )
        if "after" in parameters:
            seen = self._cursor(parameters["after"])
            last = (float(seen[0]), seen[1])
            found = [one for one in found if (one.published.timestamp(), one.uuid) > last]
        oddity = self.oddities.pop() if self.oddities else None
        events, rest = found[:limit], found[limit:]
        if oddity == "short" and len(events) > 1:
            half = len(events) // 2
            events, rest = events[:half], events[half:] + rest
        link = None
        if rest:
            place = f"b.{self._generation}.{events[-1].published.timestamp()!r}.{events[-1].uuid}"
            asked = {
                "after": place,
                "since": parameters["since"],
                "until": parameters["until"],
                "limit": limit,
            }
            link = f"{PATH}?{urlencode(asked)}"
        if self.trouble == "repeats" and rest:
            asked = {name: value for name, value in parameters.items() if name != "x"}
            link = f"{PATH}?{urlencode({**asked, 'x': next(self._links)})}"
        return self._page(events, link, query, oddity)

    def _cursor(self, after: str) -> list[str]:
        kind, generation, *place = after.split(".", 2)
        if int(generation) < self._generation:
            self.covered["cursors refused"] += 1
            raise Refusal(400, self._now())
        if kind == "b":
            moment, _, uuid = place[0].rpartition(".")
            return [moment, uuid]
        return place[0].split(".")

    def _page(self, events: list[OrgEvent], link: str | None, query: str, oddity: str | None) -> Answer:
        links = [f'<{URL}{query}>; rel="self"']
        if link is not None:
            links.append(f'<{URL}{link}>; rel="next"')
        if oddity == "no link" or self.trouble == "no links":
            links = []
        if oddity == "foreign link" and link is not None:
            links[-1] = f'<https://okta.example.net{link}>; rel="next"'
        if oddity is not None:
            self.covered[f"page: {oddity}"] += 1
        bodies = [one.body for one in events]
        if oddity == "twice":
            bodies += bodies[:3]
        if oddity == "junk":
            bodies = [*bodies, {"uuid": None}]
        return Answer(json.dumps(bodies).encode(), links, format_datetime(self._now(), usegmt=True))


def _text(moment: datetime) -> str:
    text = moment.replace(tzinfo=None).isoformat(timespec="milliseconds")
    return f"{text}Z"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
