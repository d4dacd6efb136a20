"""Stories of attacks. Each attack alternates with a harmless story that resembles it.

Every attack uses an address that no harmless story of its scenario uses, so tests recognize attacks by their addresses.
The people in these stories appear in no other scenario.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from . import ids, signin
from .people import ANONYMIZERS, ATTACKER, CITIES, CORPORATE_VPN, SCRIPT, Network, Person, device
from .signin import Action, Visit
from .stories import (
    EVALUATED,
    MINUTE,
    SECOND,
    START,
    UNVERIFIED,
    WRONG_PASSWORD,
    Step,
    Story,
    StoryMaker,
    visit_of,
)

_HOSTS = 60  # host numbers of a network, used in turn
_SPRAYED = 24  # people
_KIOSK = 12  # people
_GUESSES = 20
_BLOCKED = 6  # requests
_STALE = 12  # failures of a device with an old password

_SSO = "user.authentication.sso"


class Cast:
    """The people of a scenario, and the addresses to which their visits move."""

    def __init__(self, rng: random.Random, people: Sequence[Person]) -> None:
        self.rng = rng
        self.people = people
        self._turns = itertools.cycle(people)
        self._hosts = itertools.cycle(range(1, _HOSTS + 1))

    def next(self) -> Person:
        """Return the next person in turn."""
        return next(self._turns)

    def at_home(self, person: Person) -> Visit:
        """Return a visit of a person at home."""
        return visit_of(self.rng, person, person.network, person.host)

    def moved(self, visit: Visit, network: Network = ATTACKER) -> Visit:
        """Return the visit moved to another city and to the next address of a network, by default the attacker's."""
        city = self.rng.choice([city for city in CITIES if city is not visit.city])
        return replace(visit, network=network, ip=network.address(next(self._hosts)), city=city)

    def app(self) -> Action:
        """Return a single sign-on to an app."""
        return Action(_SSO, target=(signin.app(self.rng, "Example Wiki"),))


def sprayed_passwords(rng: random.Random, people: list[Person]) -> StoryMaker:
    """Attack: a device tries a password on many accounts. Harmless: people mistype their passwords at a kiosk."""

    def attack(cast: Cast) -> Story:
        device_ = device(rng)
        origin = cast.moved(cast.at_home(cast.next()))
        victims = [cast.next() for _ in range(_SPRAYED)]
        return [
            Step(
                turn * 20 * SECOND,
                replace(origin, person=person, login=person.login, device=device_),
                WRONG_PASSWORD,
            )
            for turn, person in enumerate(victims)
        ]

    def harmless(cast: Cast) -> Story:
        kiosk = cast.at_home(cast.next())
        story: Story = []
        for turn in range(_KIOSK):
            person = cast.next()
            visit = replace(kiosk, person=person, login=person.login, session=ids.session_id(rng))
            story += [
                Step(turn * 40 * SECOND, visit, WRONG_PASSWORD),
                Step(turn * 40 * SECOND + 15 * SECOND, visit, Action(START)),
            ]
        return story

    return _alternate(Cast(rng, people), attack, harmless)


def invalid_users(rng: random.Random, people: list[Person]) -> StoryMaker:
    """Attack: guessing at a login that doesn't exist. Harmless: a phone with an outdated password."""

    def attack(cast: Cast) -> Story:
        person = cast.next()
        visit = replace(
            cast.moved(cast.at_home(person)),
            person=None,
            login=f"admin.{person.login}",
            device=device(rng),
        )
        return [Step(turn * 12 * SECOND, visit, UNVERIFIED) for turn in range(_GUESSES)]

    def harmless(cast: Cast) -> Story:
        visit = cast.at_home(cast.next())
        return [Step(turn * 20 * SECOND, visit, UNVERIFIED) for turn in range(_STALE)]

    return _alternate(Cast(rng, people), attack, harmless)


def replayed_sessions(rng: random.Random, people: list[Person]) -> StoryMaker:
    """Attack: a script takes over a session. Harmless: a laptop changes networks during a session."""

    def attack(cast: Cast) -> Story:
        visit = cast.at_home(cast.next())
        stolen = replace(cast.moved(visit), device=replace(SCRIPT, token_hash=ids.digest(rng)))
        return [*_signed_in(cast, visit), Step(3 * MINUTE, stolen, cast.app())]

    def harmless(cast: Cast) -> Story:
        visit = cast.at_home(cast.next())
        return [*_signed_in(cast, visit), Step(3 * MINUTE, cast.moved(visit, CORPORATE_VPN), cast.app())]

    return _alternate(Cast(rng, people), attack, harmless)


def many_sessions(rng: random.Random, people: list[Person]) -> StoryMaker:
    """Attack: a shared password with three sessions. Harmless: two devices that sign in repeatedly."""

    def attack(cast: Cast) -> Story:
        visit = cast.at_home(cast.next())
        second = replace(visit, session=ids.session_id(rng), device=device(rng))
        third = replace(cast.moved(visit), session=ids.session_id(rng), device=device(rng))
        visits = (visit, second, third)
        return [Step(turn * 8 * MINUTE, each, Action(START)) for turn, each in enumerate(visits)]

    def harmless(cast: Cast) -> Story:
        visit = cast.at_home(cast.next())
        phone = replace(visit, session=ids.session_id(rng), device=device(rng))
        visits = (visit, phone, visit, phone, visit)
        return [Step(turn * 6 * MINUTE, each, Action(START)) for turn, each in enumerate(visits)]

    return _alternate(Cast(rng, people), attack, harmless)


def first_proxies(rng: random.Random, people: list[Person]) -> StoryMaker:
    """Attack: a stolen session appears behind a proxy. Harmless: the first use of the corporate VPN."""

    def attack(cast: Cast) -> Story:
        visit = cast.at_home(cast.next())
        proxied = cast.moved(visit, ANONYMIZERS[0])
        return [*_signed_in(cast, visit), *(Step(turn * 9 * MINUTE, proxied, cast.app()) for turn in (1, 2))]

    def harmless(cast: Cast) -> Story:
        visit = cast.moved(cast.at_home(cast.next()), CORPORATE_VPN)
        return [*_signed_in(cast, visit), Step(9 * MINUTE, visit, cast.app())]

    return _alternate(Cast(rng, people), attack, harmless)


def administered_at_risk(rng: random.Random, people: list[Person]) -> StoryMaker:
    """Attack: an administrator at high risk grants privileges. Harmless: the same at medium risk."""

    def granted(cast: Cast, visit: Visit) -> Story:
        grant = Action("user.account.privilege.grant", target=(signin.user(cast.next()),))
        return [*_signed_in(cast, visit), Step(6 * MINUTE, visit, grant)]

    def attack(cast: Cast) -> Story:
        visit = cast.moved(cast.at_home(cast.next()))
        reasons = ("Anomalous Location", "Anomalous Device")
        return granted(cast, replace(visit, device=device(rng), risk="HIGH", reasons=reasons))

    def harmless(cast: Cast) -> Story:
        visit = cast.at_home(cast.next())
        return granted(cast, replace(visit, risk="MEDIUM", reasons=("Anomalous Device",)))

    return _alternate(Cast(rng, people), attack, harmless)


def changed_from_somewhere_new(rng: random.Random, people: list[Person]) -> StoryMaker:
    """Attack: factors reset from a new country, city and device. Harmless: the same from a new laptop at home."""

    def reset(cast: Cast, visit: Visit, new: frozenset[str]) -> Story:
        visit = replace(visit, device=device(rng), new=new, risk="MEDIUM", reasons=("Anomalous Device",))
        reset_all = Action("user.mfa.factor.reset_all", target=(signin.user(cast.next()),))
        return [*_signed_in(cast, visit), Step(5 * MINUTE, visit, reset_all)]

    def attack(cast: Cast) -> Story:
        new = frozenset({"New Country", "New Geo-Location", "New Device", "New IP"})
        return reset(cast, cast.moved(cast.at_home(cast.next())), new)

    def harmless(cast: Cast) -> Story:
        return reset(cast, cast.at_home(cast.next()), frozenset({"New Device", "New IP"}))

    return _alternate(Cast(rng, people), attack, harmless)


def blocked_requests(rng: random.Random, people: list[Person]) -> StoryMaker:
    """Attack: a network zone blocks an anonymizer's requests. Harmless: it blocks a person in a blocked country."""
    blocked = Action(signin.BLOCKED, "DENY")

    def requests(visit: Visit) -> Story:
        nobody = replace(visit, person=None, login="unknown")
        return [Step(turn * 40 * SECOND, nobody, blocked) for turn in range(_BLOCKED)]

    def attack(cast: Cast) -> Story:
        return requests(replace(cast.moved(cast.at_home(cast.next()), ANONYMIZERS[0]), device=device(rng)))

    def harmless(cast: Cast) -> Story:
        return requests(cast.at_home(cast.next()))

    return _alternate(Cast(rng, people), attack, harmless)


def _alternate(cast: Cast, *makers: Callable[[Cast], Story]) -> StoryMaker:
    turns: Iterator[Callable[[Cast], Story]] = itertools.cycle(makers)
    return lambda: next(turns)(cast)


def _signed_in(cast: Cast, visit: Visit) -> Story:
    evaluated = replace(EVALUATED, target=(signin.policy(cast.rng),))
    return [Step(0, visit, evaluated), Step(2 * SECOND, visit, Action(START))]
