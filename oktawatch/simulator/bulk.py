"""Millions of sign-ins, generated from a few hundred templates."""

import hashlib
import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta

from . import ids, times
from .people import ANONYMIZERS, Network, Person, population
from .record import GeneratedEvent
from .signin import Action, Visit, event

_SESSION = "idx@session@"
_PUBLISHED = "2000-01-01T00:00:00.000Z"


class SignInTemplate:
    """A sign-in of one person from one place, with placeholders for the uuid, time, session and request."""

    event_type = "user.session.start"

    def __init__(self, rng: random.Random, person: Person, network: Network, action: Action) -> None:
        visit = Visit(
            login=person.login,
            person=person,
            device=person.devices[0],
            city=person.home,
            network=network,
            ip=network.address(person.host),
            session=_SESSION,
        )
        sample = event(rng, visit, action, times.read(_PUBLISHED))
        placeholders = {
            sample["uuid"]: "%(uuid)b",
            _PUBLISHED: "%(published)b",
            _SESSION: "idx%(key)b",
            sample["transaction"]["id"]: "%(key)b",
        }
        text = json.dumps(sample, separators=(",", ":")).replace("%", "%%")
        for value, placeholder in placeholders.items():
            text = text.replace(value, placeholder)
        self._template = text.encode()
        self._salt = rng.randbytes(8)

    def render(self, number: int, published: int) -> bytes:
        """Return an event. Different numbers have different uuids."""
        key = hashlib.blake2b(number.to_bytes(8), digest_size=16, key=self._salt).hexdigest()
        values = {
            b"uuid": ids.event_uuid(published, int(key[:18], 16)).encode(),
            b"published": times.to_text(published).encode(),
            b"key": key.encode(),
        }
        return self._template % values


def generate(
    count: int,
    *,
    seed: int = 1,
    end: datetime,
    span: timedelta = timedelta(days=1),
    proxy_share: float = 0.02,
    people: int = 40,
) -> Iterator[tuple[datetime, GeneratedEvent]]:
    """Yield `count` sign-ins, evenly distributed over the `span` before `end`, in persistence order.

    Each sign-in is persisted up to two seconds after it was published. The share `proxy_share` comes through
    an anonymizing proxy. The events are generated when they are served.
    """
    rng = random.Random(seed)  # noqa: S311 -- repeatable, not secret
    users = population(rng, people)
    failed = Action("user.session.start", "FAILURE", "INVALID_CREDENTIALS")
    actions = [Action("user.session.start")] * 9 + [failed]
    plain = [SignInTemplate(rng, person, person.network, action) for person in users for action in actions]
    anonymized = [
        SignInTemplate(rng, person, rng.choice(ANONYMIZERS), action) for person in users for action in actions
    ]
    last, length = times.to_ms(end), times.to_ms(end) - times.to_ms(end - span)
    for index in range(1, count + 1):
        templates = anonymized if rng.random() < proxy_share else plain
        persisted = last - length + length * index // count
        published = persisted - int(2000 * rng.random())
        yield (
            times.from_ms(persisted),
            GeneratedEvent(templates[int(len(templates) * rng.random())], published),
        )
