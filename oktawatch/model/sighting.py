"""A sighting: a summary of one person's sign-ins from one address."""

from datetime import datetime

from msgspec import Struct


class Sighting(Struct, frozen=True, kw_only=True):
    """One row of ``sightings``: an actor's sign-ins from an address. Times are event times.

    ``as_number``, ``country``, ``anonymizer``, ``operator`` and ``actor_alternate_id`` are those of the latest sign-in.
    """

    org: str
    actor_id: str
    """Empty for actors without an id, which share a row for each address."""
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
    """The kind of anonymizer: a value of ``AnonymizerKind``. None if Okta did not mark the address in this sign-in."""
    operator: str | None
    """The operator of the anonymizer. None if unknown."""
    anonymizer_at: datetime | None
    """The first sign-in through an anonymizer."""


class Novelty(Struct, frozen=True, kw_only=True):
    """The attributes of a sign-in that were new for the person. An unknown attribute is never new."""

    new: tuple[str, ...]
    """The new attributes among ``country``, ``network``, ``address`` and ``anonymizer``."""
    known_since: datetime | None
    """The time of the person's first sign-in before this one. None if there is none, or if the person is unknown."""
    others: int
    """The number of other people with an id who have ever used the address."""
