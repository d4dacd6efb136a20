"""Stories of attacks, each told in turn with a harmless one that looks like it.

Every attack comes from an address of its own, which nobody else has: whoever wants to know what there was to be
found looks for those addresses. The people in these stories appear in no others.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from . import ids, signin
from .people import ANONYMIZERS, ATTACKER, CITIES, CORPORATE_VPN, SCRIPT, Network, Person, device
from .signin import Deed, Visit
from .stories import (
    EVALUATED,
    MINUTE,
    SECOND,
    START,
    UNVERIFIED,
    WRONG_PASSWORD,
    Step,
    Story,
    Teller,
    visit_of,
)

_HOSTS = 60
_SPRAYED = 24  # people
_KIOSK = 12  # people
_GUESSES = 20
_STALE = 12  # failures of a device with an old password

_SSO = "user.authentication.sso"


class Cast:
    """The people of one scenario, and where its attacks come from."""

    def __init__(self, rng: random.Random, people: Sequence[Person]) -> None:
        self.rng = rng
        self.people = people
        self._turns = itertools.cycle(people)
        self._hosts = itertools.cycle(range(1, _HOSTS + 1))

    def next(self) -> Person:
        """Return whoever has not had a turn for the longest time."""
        return next(self._turns)

    def at_home(self, person: Person) -> Visit:
        """Return the visit of somebody at home."""
        return visit_of(self.rng, person, person.network, person.host)

    def moved(self, visit: Visit, network: Network = ATTACKER) -> Visit:
        """Return what a visit looks like from the next address of another network, by default an attacker's."""
        place = self.rng.choice([city for city in CITIES if city is not visit.city])
        return replace(visit, network=network, ip=network.address(next(self._hosts)), city=place)

    def app(self) -> Deed:
        """Return a sign-on to an app."""
        return Deed(_SSO, target=(signin.app(self.rng, "Example Wiki"),))


def sprayed_passwords(rng: random.Random, people: list[Person]) -> Teller:
    """Tell of one device that tries a password on many people, and of a kiosk where a shift mistypes."""

    def attack(cast: Cast) -> Story:
        device_ = device(rng)
        where = cast.moved(cast.at_home(cast.next()))
        victims = [cast.next() for _ in range(_SPRAYED)]
        return [
            Step(
                turn * 20 * SECOND,
                replace(where, person=person, login=person.login, device=device_),
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
                Step(turn * 40 * SECOND + 15 * SECOND, visit, Deed(START)),
            ]
        return story

    return _in_turn(Cast(rng, people), attack, harmless)


def invalid_users(rng: random.Random, people: list[Person]) -> Teller:
    """Tell of somebody who guesses at a login that nobody has, and of a phone with an old password."""

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

    return _in_turn(Cast(rng, people), attack, harmless)


def replayed_sessions(rng: random.Random, people: list[Person]) -> Teller:
    """Tell of a session that a script takes over, and of one that changes networks with its laptop."""

    def attack(cast: Cast) -> Story:
        visit = cast.at_home(cast.next())
        stolen = replace(cast.moved(visit), device=replace(SCRIPT, token_hash=ids.digest(rng)))
        return [*_signed_in(cast, visit), Step(3 * MINUTE, stolen, cast.app())]

    def harmless(cast: Cast) -> Story:
        visit = cast.at_home(cast.next())
        return [*_signed_in(cast, visit), Step(3 * MINUTE, cast.moved(visit, CORPORATE_VPN), cast.app())]

    return _in_turn(Cast(rng, people), attack, harmless)


def many_sessions(rng: random.Random, people: list[Person]) -> Teller:
    """Tell of a shared password with a session each for three, and of two devices that sign in again."""

    def attack(cast: Cast) -> Story:
        visit = cast.at_home(cast.next())
        second = replace(visit, session=ids.session_id(rng), device=device(rng))
        third = replace(cast.moved(visit), session=ids.session_id(rng), device=device(rng))
        return [Step(turn * 8 * MINUTE, one, Deed(START)) for turn, one in enumerate((visit, second, third))]

    def harmless(cast: Cast) -> Story:
        visit = cast.at_home(cast.next())
        phone = replace(visit, session=ids.session_id(rng), device=device(rng))
        again = (visit, phone, visit, phone, visit)
        return [Step(turn * 6 * MINUTE, one, Deed(START)) for turn, one in enumerate(again)]

    return _in_turn(Cast(rng, people), attack, harmless)


def first_proxies(rng: random.Random, people: list[Person]) -> Teller:
    """Tell of a stolen session that surfaces behind a proxy, and of a first day with the company's own VPN."""

    def attack(cast: Cast) -> Story:
        visit = cast.at_home(cast.next())
        hidden = cast.moved(visit, ANONYMIZERS[0])
        return [*_signed_in(cast, visit), *(Step(turn * 9 * MINUTE, hidden, cast.app()) for turn in (1, 2))]

    def harmless(cast: Cast) -> Story:
        through = cast.moved(cast.at_home(cast.next()), CORPORATE_VPN)
        return [*_signed_in(cast, through), Step(9 * MINUTE, through, cast.app())]

    return _in_turn(Cast(rng, people), attack, harmless)


def administered_at_risk(rng: random.Random, people: list[Person]) -> Teller:
    """Tell of an administrator's account at high risk that grants rights, and of one at medium risk."""

    def granted(cast: Cast, visit: Visit) -> Story:
        grant = Deed("user.account.privilege.grant", target=(signin.user(cast.next()),))
        return [*_signed_in(cast, visit), Step(6 * MINUTE, visit, grant)]

    def attack(cast: Cast) -> Story:
        visit = cast.moved(cast.at_home(cast.next()))
        reasons = ("Anomalous Location", "Anomalous Device")
        return granted(cast, replace(visit, device=device(rng), risk="HIGH", reasons=reasons))

    def harmless(cast: Cast) -> Story:
        visit = cast.at_home(cast.next())
        return granted(cast, replace(visit, risk="MEDIUM", reasons=("Anomalous Device",)))

    return _in_turn(Cast(rng, people), attack, harmless)


def changed_from_somewhere_new(rng: random.Random, people: list[Person]) -> Teller:
    """Tell of factors that are reset from a new country, place and device, and of the same on a new laptop."""

    def reset(cast: Cast, visit: Visit, new: frozenset[str]) -> Story:
        visit = replace(visit, device=device(rng), new=new, risk="MEDIUM", reasons=("Anomalous Device",))
        taken_away = Deed("user.mfa.factor.reset_all", target=(signin.user(cast.next()),))
        return [*_signed_in(cast, visit), Step(5 * MINUTE, visit, taken_away)]

    def attack(cast: Cast) -> Story:
        new = frozenset({"New Country", "New Geo-Location", "New Device", "New IP"})
        return reset(cast, cast.moved(cast.at_home(cast.next())), new)

    def harmless(cast: Cast) -> Story:
        return reset(cast, cast.at_home(cast.next()), frozenset({"New Device", "New IP"}))

    return _in_turn(Cast(rng, people), attack, harmless)


def _in_turn(cast: Cast, *tell: Callable[[Cast], Story]) -> Teller:
    turns: Iterator[Callable[[Cast], Story]] = itertools.cycle(tell)
    return lambda: next(turns)(cast)


def _signed_in(cast: Cast, visit: Visit) -> Story:
    evaluated = replace(EVALUATED, target=(signin.policy(cast.rng),))
    return [Step(0, visit, evaluated), Step(2 * SECOND, visit, Deed(START))]
