"""A sighting: a summary of one person's sign-ins from one address."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

PROXY = "proxy"
"""The kind of an anonymizer if its type is unknown."""


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
    """The kind of anonymizer, or None if the address is not an anonymizer's."""
    operator: str | None
    """The operators of the anonymizer as Okta names them, separated by commas."""
    anonymizer_at: datetime | None
    """The first sign-in through an anonymizer."""


class Novelty(Struct, frozen=True, kw_only=True):
    """The attributes of a sign-in that were new for the person. An unknown attribute is never new."""

    new: tuple[str, ...]
    """The new attributes among ``country``, ``network``, ``address`` and ``anonymizer``."""
    known_since: datetime | None
    """The time of the person's first earlier sign-in. If None, there is no earlier one, and every attribute is new."""
    others: int
    """The number of other people who have used the address, before or since."""


def classify_anonymizer(*, is_anonymized: bool, operators: str | None) -> tuple[str | None, str | None]:
    """Return the kind of anonymizer and its operators, for the columns of ``sightings``. None if unknown.

    ``operators`` is a JSON array of strings.
    """
    names: Sequence[str] = msgspec.json.decode(operators) if operators else ()
    return (PROXY if is_anonymized else None), (", ".join(names) or None)
