"""Stories: what happens during a visit, from the first sign-in attempt to the end of the session."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from . import ids, signin
from .people import ANONYMIZERS, CITIES, CORPORATE_VPN, RELAYS, Network, Person, apple_device, device
from .signin import Action, Visit

SECOND = 1000
"""In milliseconds, like all times in this module."""
MINUTE = 60 * SECOND
_APPS = ("Example Wiki", "Ledger", "Helpdesk", "Payslips", "Source Code", "Travel")
_MISPLACED_PASSWORDS = ("Winter-is-2-long", "kept!under!the!mat", "7tulips&aHorse")
"""Passwords typed into the user name field. They appear as the `alternateId` of an event with an unknown actor."""

START = "user.session.start"
EVALUATED = Action("policy.evaluate_sign_on", "ALLOW", "Sign-on policy evaluation resulted in ALLOW")
WRONG_PASSWORD = Action(START, "FAILURE", "INVALID_CREDENTIALS")
UNVERIFIED = Action(START, "FAILURE", "VERIFICATION_ERROR")


@dataclass(frozen=True)
class Step:
    """An action in a story."""

    after: int
    """Milliseconds since the start of the story."""
    visit: Visit
    action: Action


Story = list[Step]
StoryMaker = Callable[[], Story]


def ordinary(rng: random.Random, people: list[Person]) -> StoryMaker:
    """Make stories of people at home and in the office, a few of whom mistype their login or password.

    People take turns: signing in every few minutes would not be ordinary.
    """
    waiting = rng.sample(people, len(people))

    def make() -> Story:
        person = waiting.pop(rng.randrange(len(waiting) // 4 + 1))
        waiting.append(person)
        office = rng.random() < 0.1  # noqa: PLR2004 -- an invented share
        visit = visit_of(rng, person, CORPORATE_VPN if office else person.network, person.host)
        chance = rng.random()
        if chance < 0.02:  # noqa: PLR2004 -- an invented share
            return [Step(0, _nobody(rng, visit), UNVERIFIED)]
        failures = 1 if chance < 0.08 else 0  # noqa: PLR2004 -- an invented share
        return _attempts(rng, visit, failures) + _session(rng, visit, after=failures * 8 * SECOND)

    return make


def anonymized(rng: random.Random, people: list[Person]) -> StoryMaker:
    """Make stories of a few people who use commercial VPNs, proxies and Tor. Each person keeps to one exit."""
    habits = [
        (person, exit_, rng.randint(1, 60), rng.choice(CITIES))
        for person, exit_ in zip(rng.sample(people, min(5, len(people))), ANONYMIZERS, strict=False)
    ]
    behaviors = ("New Geo-Location", "New Device", "New IP", "New Country", "New City")

    def make() -> Story:
        person, network, host, city = rng.choice(habits)
        risk, reasons = rng.choice(
            (("MEDIUM", ("Anomalous Location",)), ("HIGH", ("Anomalous Location", "Anomalous Device")))
        )
        visit = replace(
            visit_of(rng, person, network, host),
            city=city,
            device=device(rng),
            risk=risk,
            reasons=reasons,
            new=frozenset(rng.sample(behaviors, 3)),
        )
        chance = rng.random()
        if chance < 0.1:  # noqa: PLR2004 -- an invented share
            return [Step(0, _nobody(rng, visit), UNVERIFIED)]
        failures = rng.choice((0, 0, 1, 2, 3))
        story = _attempts(rng, visit, failures)
        gave_up = failures > 1 and chance < 0.6  # noqa: PLR2004 -- an invented share
        return story if gave_up else story + _session(rng, visit, after=failures * 8 * SECOND)

    return make


def relayed(rng: random.Random, people: list[Person]) -> StoryMaker:
    """Make stories of people whose Apple devices use iCloud Private Relay."""
    habits = [
        (person, rng.choice(RELAYS), apple_device(rng)) for person in rng.sample(people, min(6, len(people)))
    ]

    def make() -> Story:
        person, network, apple = rng.choice(habits)
        visit = replace(
            visit_of(rng, person, network, rng.randint(1, 3)), device=apple, new=frozenset({"New IP"})
        )
        return _session(rng, visit, after=0)

    return make


def visit_of(rng: random.Random, person: Person, network: Network, host: int) -> Visit:
    """Return a visit of a person from a host in a network, with one of their devices and a new session."""
    return Visit(
        login=person.login,
        person=person,
        device=rng.choice(person.devices),
        city=person.home,
        network=network,
        ip=network.address(host),
        session=ids.session_id(rng),
    )


def _nobody(rng: random.Random, visit: Visit) -> Visit:
    """Return the visit with a login that doesn't exist: a mistyped login, or a password in the wrong field."""
    name, _, domain = visit.login.partition("@")
    mistyped = f"{name[:-1]}@{domain}"
    return replace(visit, person=None, login=rng.choice((mistyped, mistyped, *_MISPLACED_PASSWORDS)))


def _attempts(rng: random.Random, visit: Visit, failures: int) -> Story:
    return [
        Step(turn * 8 * SECOND + rng.randrange(3 * SECOND), visit, WRONG_PASSWORD) for turn in range(failures)
    ]


def _session(rng: random.Random, visit: Visit, *, after: int) -> Story:
    """Return a successful sign-in, some apps, and sometimes the end of the session."""
    evaluated = replace(EVALUATED, target=(signin.policy(rng),))
    at = after + 4 * SECOND
    story = [Step(at, visit, evaluated), Step(at + rng.randrange(200, 900), visit, Action(START))]
    if visit.person is not None and rng.random() < 0.5:  # noqa: PLR2004 -- an invented share
        verified = Action("user.authentication.auth_via_mfa", target=(signin.factor(visit.person),))
        story.append(Step(at + rng.randrange(4, 30) * SECOND, visit, verified))
    at += MINUTE
    for name in rng.sample(_APPS, rng.randint(1, 4)):
        story.append(Step(at, visit, Action("user.authentication.sso", target=(signin.app(rng, name),))))
        at += rng.randrange(30 * MINUTE)
    if rng.random() < 0.4:  # noqa: PLR2004 -- an invented share
        story.append(Step(at, visit, Action("user.session.end")))
    return story
