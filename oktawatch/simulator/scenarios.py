"""Scenarios: what goes on in an org, as an endless stream of events from some time ago into the future.

Ordinary traffic is always there, which alerts nobody, and each scenario adds its own to it. Every part draws from a source of its
own, seeded with its name, so that a scenario's events stay the same whatever it is combined with.
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
_SELDOM = 0.02
_CAST = 30
"""How many people of its own a scenario has."""


@dataclass(frozen=True)
class Scenario:
    """Something that can go on in an org."""

    name: str
    description: str
    begin: Callable[[random.Random, list[Person]], stories.Teller] | None
    share: float
    """How many visits it adds, as a part of the ordinary ones."""
    own_people: bool = False
    """Whether it is about people who appear nowhere else: then what it adds can be told from the rest."""


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "anonymizing-vpn",
            "a few people sign in through commercial VPNs, proxies and Tor, some of them again and again",
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
            "one device tries a password on many people; a kiosk where a shift signs in",
            attacks.sprayed_passwords,
            _SELDOM,
            own_people=True,
        ),
        Scenario(
            "invalid-users",
            "somebody guesses at logins that nobody has; phones with an old password",
            attacks.invalid_users,
            _SELDOM,
            own_people=True,
        ),
        Scenario(
            "session-replay",
            "scripts go on with stolen sessions; laptops change networks",
            attacks.replayed_sessions,
            _SELDOM,
            own_people=True,
        ),
        Scenario(
            "many-sessions",
            "shared passwords, with a session each for three; two devices that sign in again and again",
            attacks.many_sessions,
            _SELDOM,
            own_people=True,
        ),
        Scenario(
            "first-proxy",
            "stolen sessions surface behind a proxy; people use the company's own VPN for the first time",
            attacks.first_proxies,
            _SELDOM,
            own_people=True,
        ),
        Scenario(
            "admin-after-risky-sign-in",
            "an administrator's account grants rights in a session of high risk; others in one of medium risk",
            attacks.administered_at_risk,
            _SELDOM,
            own_people=True,
        ),
        Scenario(
            "new-device-critical-operation",
            "factors are reset right after a sign-in from a new country, place and device; and from a new laptop at home",
            attacks.changed_from_somewhere_new,
            _SELDOM,
            own_people=True,
        ),
        Scenario("quiet", "ordinary sign-ins only, some of them mistyped", None, 0.0),
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
    """Return the endless stream of these scenarios, pairs of a persistence time and an event, in that order.

    It begins `span` before `start`; until `start` people come for `rate` ordinary visits an hour, from then on
    for `live_rate` (default: as before). Each scenario has its first visit in the first half of the span. The
    same seed and start give the same events. Raises ValueError for a name that is no scenario.
    """
    if unknown := sorted(set(names := list(names)) - SCENARIOS.keys()):
        raise ValueError(f"no scenario is named {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
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
    """When visits come; rates are in visits a millisecond."""

    begin: int
    start: int
    rate: float
    live_rate: float

    def slowed(self, share: float) -> "_Pace":
        return _Pace(self.begin, self.start, self.rate * share, self.live_rate * share)

    def arrivals(self, rng: random.Random) -> Iterator[int]:
        """Yield the times of visits: random, at the past's rate up to the start and at the live one after it."""
        at = self.begin + rng.uniform(0, min(1 / self.rate, (self.start - self.begin) / 2))
        while at < self.start:
            yield int(at)
            at += rng.expovariate(self.rate)
        at = self.start
        while True:
            at += rng.expovariate(self.live_rate)
            yield int(at)


def _traffic(rng: random.Random, tell: stories.Teller, pace: _Pace) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the events of one story after another, by the time of their persistence."""
    pending: list[tuple[int, int, dict[str, Any]]] = []
    serial = itertools.count()
    for arrival in pace.arrivals(rng):
        while pending and pending[0][0] <= arrival:
            persisted, _, event = heapq.heappop(pending)
            yield persisted, event
        for step in tell():
            published = arrival + step.after
            event = signin.event(rng, step.visit, step.deed, published)
            heapq.heappush(pending, (published + _delay(rng), next(serial), event))


def _delay(rng: random.Random) -> int:
    """Return how long the System Log takes to persist an event, in milliseconds: seldom more than two seconds."""
    slow = rng.random()
    if slow < 0.01:  # noqa: PLR2004 - one in a hundred
        return rng.randrange(20_000, 50_000)
    return rng.randrange(2_000, 20_000) if slow < 0.1 else rng.randrange(100, 2_000)  # noqa: PLR2004 - one in ten


def _source(seed: int, name: str) -> random.Random:
    return random.Random(f"{seed}/{name}")  # noqa: S311 - repeatable, not secret
