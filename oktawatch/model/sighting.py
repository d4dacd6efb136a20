"""A sighting: what is known of one person's sign-ins from one address."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

PROXY = "proxy"
"""The kind of an anonymizer of which nothing else is known."""


class Sighting(Struct, frozen=True, kw_only=True):
    """One row of ``sightings``: an actor's sign-ins from an address. Times are event times.

    ``as_number``, ``country``, ``anonymizer``, ``operator`` and ``actor_alternate_id`` are those of the latest sign-in.
    """

    org: str
    actor_id: str
    """Empty for the sign-ins of all actors without an id: they share a row for each address."""
    client_ip: str
    """As Okta wrote it. Empty for sign-ins without an address."""
    actor_alternate_id: str | None
    first_at: datetime
    last_at: datetime
    successes: int
    failures: int
    as_number: int | None
    country: str | None
    anonymizer: str | None
    """The kind of anonymizer, None where there is none."""
    operator: str | None
    """The operators of the anonymizer as Okta names them, separated by commas."""
    anonymizer_at: datetime | None
    """The first sign-in through an anonymizer."""


class Novelty(Struct, frozen=True, kw_only=True):
    """What was new for a person at some time. What is unknown of an event is never new."""

    new: tuple[str, ...]
    """Of ``country``, ``network``, ``address`` and ``anonymizer``, those that the person never came from before."""
    known_since: datetime | None
    """The person's first sign-in, if it was before that time. None: everything is new, since nothing is known."""
    others: int
    """The number of other people who have used the address, before or since."""


def classify_anonymizer(*, is_anonymized: bool, operators: str | None) -> tuple[str | None, str | None]:
    """Return the kind of anonymizer and its operators, as ``sightings`` has them; None for each that is unknown.

    ``operators`` is a JSON array of texts.
    """
    names: Sequence[str] = msgspec.json.decode(operators) if operators else ()
    return (PROXY if is_anonymized else None), (", ".join(names) or None)
