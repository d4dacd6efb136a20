"""Scenarios: endless streams of events, which begin in the past.

Every stream contains ordinary traffic, which causes no alerts, and the visits of the selected scenarios. Each scenario
has a separate random generator, seeded with its name, so its events don't depend on the other scenarios.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from . import attacks, signin, stories, times
from .people import Person, population

HOUR = 3_600_000
_SELDOM = 0.02  # of the ordinary visits
_CAST = 30
"""The number of people in a scenario with `own_people`."""


@dataclass(frozen=True)
class Scenario:
    """A kind of activity in an org."""

    name: str
    description: str
    begin: Callable[[random.Random, list[Person]], stories.StoryMaker] | None
    share: float
    """The number of visits that it adds, as a share of the ordinary visits."""
    own_people: bool = False
    """Whether its people appear in no other scenario, so that its events can be distinguished from the rest."""


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "anonymizing-vpn",
            "a few people sign in through commercial VPNs, proxies and Tor, some of them repeatedly",
            stories.anonymized,
            0.06,
        ),
        Scenario(
            "apple-relay",
            "people with Apple devices sign in through iCloud Private Relay",
            stories.relayed,
            0.05,
        ),
        Scenario(
            "password-spray",
            "a device tries a password on many accounts; a shift signs in at a kiosk",
            attacks.sprayed_passwords,
            _SELDOM,
            own_people=True,
        ),
        Scenario(
            "invalid-users",
            "an attacker guesses at logins that don't exist; phones use an outdated password",
            attacks.invalid_users,
            _SELDOM,
            own_people=True,
        ),
        Scenario(
            "session-replay",
            "scripts use stolen sessions; laptops change networks",
            attacks.replayed_sessions,
            _SELDOM,
            own_people=True,
        ),
        Scenario(
            "many-sessions",
            "three sessions share a password; two devices sign in repeatedly",
            attacks.many_sessions,
            _SELDOM,
            own_people=True,
        ),
        Scenario(
            "first-proxy",
            "stolen sessions appear behind a proxy; people use the corporate VPN for the first time",
            attacks.first_proxies,
            _SELDOM,
            own_people=True,
        ),
        Scenario(
            "admin-after-risky-sign-in",
            "an administrator grants privileges in a session of high risk; others in a session of medium risk",
            attacks.administered_at_risk,
            _SELDOM,
            own_people=True,
        ),
        Scenario(
            "new-device-critical-operation",
            "factors are reset after a sign-in from a new country, city and device; or from a new laptop at home",
            attacks.changed_from_somewhere_new,
            _SELDOM,
            own_people=True,
        ),
        Scenario(
            "blocked-anonymizer",
            "a network zone blocks requests from anonymizers and from a blocked country",
            attacks.blocked_requests,
            _SELDOM,
            own_people=True,
        ),
        Scenario("quiet", "only ordinary sign-ins, some of them mistyped", None, 0.0),
    )
}

_CASTS = [scenario.name for scenario in SCENARIOS.values() if scenario.own_people]


def build(
    names: Iterable[str],
    *,
    seed: int = 1,
    start: datetime,
    span: timedelta = timedelta(hours=24),
    rate: float = 60.0,
    live_rate: float | None = None,
    people: int = 40,
) -> Iterator[tuple[datetime, dict[str, Any]]]:
    """Return an endless stream of pairs of a persistence time and an event, ordered by persistence time.

    The stream starts `span` before `start`. It has `rate` ordinary visits per hour until `start`, and `live_rate`
    after it, which defaults to `rate`. The first visit of each scenario is in the first half of the span. The same
    seed and start produce the same events. Raises ValueError for an unknown scenario.
    """
    if unknown := sorted(set(names := list(names)) - SCENARIOS.keys()):
        raise ValueError(f"unknown scenario {', '.join(unknown)}; the scenarios are {', '.join(SCENARIOS)}")
    everybody = population(_source(seed, "people"), people + _CAST * len(_CASTS))
    pace = _Pace(times.to_ms(start - span), times.to_ms(start), rate / HOUR, (live_rate or rate) / HOUR)
    ordinary = _source(seed, "ordinary")
    streams = [_traffic(ordinary, stories.ordinary(ordinary, everybody[:people]), pace)]
    for name in sorted(set(names)):
        scenario = SCENARIOS[name]
        if scenario.begin is not None:
            source = _source(seed, name)
            if scenario.own_people:
                first = people + _CAST * _CASTS.index(name)
                cast = everybody[first : first + _CAST]
            else:
                cast = everybody[:people]
            streams.append(_traffic(source, scenario.begin(source, cast), pace.slowed(scenario.share)))
    merged = heapq.merge(*streams, key=lambda pair: pair[0])
    return ((times.from_ms(persisted), event) for persisted, event in merged)


@dataclass(frozen=True)
class _Pace:
    """The times of visits. Rates are in visits per millisecond."""

    begin: int
    start: int
    rate: float
    live_rate: float

    def slowed(self, share: float) -> "_Pace":
        return _Pace(self.begin, self.start, self.rate * share, self.live_rate * share)

    def arrivals(self, rng: random.Random) -> Iterator[int]:
        """Yield random times of visits, at `rate` before the start and at `live_rate` after it."""
        at = self.begin + rng.uniform(0, min(1 / self.rate, (self.start - self.begin) / 2))
        while at < self.start:
            yield int(at)
            at += rng.expovariate(self.rate)
        at = self.start
        while True:
            at += rng.expovariate(self.live_rate)
            yield int(at)


def _traffic(
    rng: random.Random, make_story: stories.StoryMaker, pace: _Pace
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the events of successive stories, ordered by persistence time."""
    pending: list[tuple[int, int, dict[str, Any]]] = []
    serial = itertools.count()
    for arrival in pace.arrivals(rng):
        while pending and pending[0][0] <= arrival:
            persisted, _, event = heapq.heappop(pending)
            yield persisted, event
        for step in make_story():
            published = arrival + step.after
            event = signin.event(rng, step.visit, step.action, published)
            heapq.heappush(pending, (published + _delay(rng), next(serial), event))


def _delay(rng: random.Random) -> int:
    """Return a random delay until an event is persisted, in milliseconds: usually under two seconds."""
    chance = rng.random()
    if chance < 0.01:  # noqa: PLR2004 -- one in a hundred
        return rng.randrange(20_000, 50_000)
    return rng.randrange(2_000, 20_000) if chance < 0.1 else rng.randrange(100, 2_000)  # noqa: PLR2004 -- one in ten


def _source(seed: int, name: str) -> random.Random:
    return random.Random(f"{seed}/{name}")  # noqa: S311 -- repeatable, not secret
