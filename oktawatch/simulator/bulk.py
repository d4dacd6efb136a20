"""Sign-ins by the million: a few hundred forms, and a number for each event that is made from one."""

import hashlib
import json
import random
import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from . import ids, times
from .people import ANONYMIZERS, Network, Person, population
from .record import Drawn
from .signin import Deed, Visit, event

_SESSION = "idx@session@"
_PUBLISHED = "2000-01-01T00:00:00.000Z"


class SignInForm:
    """The sign-ins of one person at one place, with room for what differs: uuid, time, session and request."""

    event_type = "user.session.start"

    def __init__(self, rng: random.Random, person: Person, network: Network, deed: Deed) -> None:
        visit = Visit(
            login=person.login,
            person=person,
            device=person.devices[0],
            city=person.home,
            network=network,
            ip=network.address(person.host),
            session=_SESSION,
        )
        model = event(rng, visit, deed, times.read(_PUBLISHED))
        blanks = {
            model["uuid"]: "%(uuid)b",
            _PUBLISHED: "%(published)b",
            _SESSION: "idx%(key)b",
            model["transaction"]["id"]: "%(key)b",
        }
        text = json.dumps(model, separators=(",", ":")).replace("%", "%%")
        pattern = "|".join(map(re.escape, blanks))
        self._form = re.sub(pattern, lambda found: blanks[found[0]], text).encode()
        self._salt = rng.randbytes(8)

    def fill(self, number: int, published: int) -> bytes:
        """Return the event of that number: another number, another uuid."""
        key = hashlib.blake2b(number.to_bytes(8), digest_size=16, key=self._salt).hexdigest()
        values = {
            b"uuid": ids.event_uuid(published, int(key[:18], 16)).encode(),
            b"published": times.to_text(published).encode(),
            b"key": key.encode(),
        }
        return self._form % values


def generate(
    count: int,
    *,
    seed: int = 1,
    end: datetime,
    span: timedelta = timedelta(days=1),
    proxy_share: float = 0.02,
    people: int = 40,
) -> Iterator[tuple[datetime, Drawn]]:
    """Yield so many sign-ins, evenly over the time before `end`, in the order of their persistence.

    Each is persisted up to two seconds after it was published, the first of them later than `end - span`. A
    share of them, `proxy_share`, comes through an anonymizing proxy. The events are made when they are served.
    """
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    somebody = population(rng, people)
    failed = Deed("user.session.start", "FAILURE", "INVALID_CREDENTIALS")
    deeds = [Deed("user.session.start")] * 9 + [failed]
    plain = [SignInForm(rng, person, person.network, deed) for person in somebody for deed in deeds]
    hidden = [SignInForm(rng, person, rng.choice(ANONYMIZERS), deed) for person in somebody for deed in deeds]
    last, length = times.to_ms(end), times.to_ms(end) - times.to_ms(end - span)
    for index in range(1, count + 1):
        forms = hidden if rng.random() < proxy_share else plain
        persisted = last - length + length * index // count
        published = persisted - int(2000 * rng.random())
        yield times.from_ms(persisted), Drawn(forms[int(len(forms) * rng.random())], published)
