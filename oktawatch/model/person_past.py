"""What is known about a person and affects the severity of a sign-in through an anonymizer."""

from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec import Struct

from oktawatch.model.history import SIGN_IN, HistoryRow
from oktawatch.model.match import FAILURES, SUCCESSES, EventKey
from oktawatch.model.risk import NEW_DEVICE

FAILURE_WINDOW = timedelta(hours=1)
"""Failures count if they are at most this long before the sign-in."""
MANY_FAILURES = 3
"""The number of failures that makes a success after them suspicious."""
FAMILIAR_WINDOW = timedelta(days=30)
"""Days with earlier sign-ins count if they are at most this long before the sign-in."""
FAMILIAR_DAYS = 3
"""The number of different days after which a service is familiar to a person."""
VERDICT_WINDOW = timedelta(days=90)
"""The last verdict counts if it is at most this long before the sign-in."""


class PastQuery(NamedTuple):
    """A query for the past of a sign-in's person."""

    actor_id: str
    service: str | None
    """See `service_of`."""
    published: str
    """The time of the sign-in, as canonical text."""


class Verdict(NamedTuple):
    """The verdict with which an analyst closed an alert about the person."""

    disposition: str
    """``true_positive``, ``false_positive`` or ``benign``."""
    closed_at: datetime
    service: str | None


class Past(Struct, frozen=True):
    """What is known about a person, for the severity of one sign-in.

    The database is asked for at most ``MANY_FAILURES`` failures and ``FAMILIAR_DAYS`` days.
    """

    failures: frozenset[EventKey] = frozenset()
    """The latest failed sign-ins within `FAILURE_WINDOW`."""
    days: frozenset[str] = frozenset()
    """The latest days on which the person used the service (`FamiliarDay`), before the day of the sign-in and within `FAMILIAR_WINDOW`."""
    verdicts: tuple[Verdict, ...] = ()
    """All verdicts on the person's alerts, from `VERDICT_WINDOW` before the sign-in until now. May include older ones."""


NO_PAST = Past()
"""The past of a person about whom nothing is known."""


class FamiliarDay(NamedTuple):
    """A day (in UTC) on which a person signed in through a service. The names are columns of ``familiar_days``."""

    actor_id: str
    service: str
    day: str


def service_of(operator: str | None, as_number: int | None) -> str | None:
    """Return the name under which a person's sign-ins through an anonymizer are compared.

    It is the operator, or else the network: ``NORD_VPN``, ``AS64500``.
    """
    return operator or (None if as_number is None else f"AS{as_number}")


def query_of(row: HistoryRow) -> PastQuery | None:
    """Return the query for the past of a sign-in's person. None if the person is unknown."""
    if row.actor_id is None:
        return None
    operator = row.anonymizer.operator if row.anonymizer else None
    return PastQuery(row.actor_id, service_of(operator, row.as_number), row.published)


def failed_actor(row: HistoryRow) -> str | None:
    """Return the actor of a failed sign-in. None for any other event."""
    return row.actor_id if row.outcome in FAILURES and row.event_type == SIGN_IN else None


def familiar_day(row: HistoryRow) -> FamiliarDay | None:
    """Return the day of a success through an anonymizer from a known device. None for any other row.

    Also None if neither the operator nor the network is known.
    """
    if row.anonymizer is None or row.actor_id is None or row.outcome not in SUCCESSES:
        return None
    service = service_of(row.anonymizer.operator, row.as_number)
    if service is None or NEW_DEVICE in row.observed():
        return None
    return FamiliarDay(row.actor_id, service, row.published[:10])
