"""Build the profile of a person or an address: sightings, the latest sign-ins, and alerts."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from operator import itemgetter

from msgspec import Struct

from oktawatch.model.sighting import Sighting
from oktawatch.store.alerts import AlertFilter, list_alerts
from oktawatch.store.database import Database
from oktawatch.store.networks import Network
from oktawatch.store.sighting_queries import address, person
from oktawatch.store.sign_ins import SignIns, other_people, recent_sign_ins

RECENTLY = timedelta(days=7)
"""How long a new country, network, address or anonymizer of a person counts as new."""
SPAN = timedelta(days=90)
"""How far back sign-ins are searched if the caller requests no time range: as long as Okta keeps events."""
PATIENCE_S = 0.2
"""Seconds to search for sign-ins if the caller requests no time range."""
_ALERTS = 10  # the maximum number in a profile


class Newcomer(Struct, frozen=True, kw_only=True):
    """A country, network, address or anonymizer that a person has used only recently."""

    what: str
    """``country``, ``network``, ``address`` or ``anonymizer``."""
    value: str
    since: datetime
    """When the person first used it."""


class Profile(Struct, frozen=True, kw_only=True):
    """The profile of a person or an address in one org."""

    org: str
    sightings: list[Sighting]
    """The latest first."""
    others: dict[str, int]
    """For a person: the number of other people who used each address."""
    new: list[Newcomer]
    """For a person: new countries, networks, addresses and anonymizers, the latest first."""
    sign_ins: SignIns
    alerts: list[dict[str, object]]
    """The latest first, as JSON objects."""


def person_profiles(
    database: Database, name: str, *, orgs: Sequence[str], since: datetime | None, limit: int, now: datetime
) -> list[Profile]:
    """Return a profile for each org in which a person with this login or id has signed in.

    ``since`` is the start of the listed sign-ins. None lists sign-ins within `SPAN` that are found within `PATIENCE_S`.
    """
    profiles = []
    for org, sightings in _by_org(person(database, None, name), orgs):
        ids = sorted({sighting.actor_id for sighting in sightings})
        profiles.append(
            Profile(
                org=org,
                sightings=sightings,
                others=other_people(database, org, ids, [sighting.client_ip for sighting in sightings]),
                new=newcomers(sightings, now=now),
                sign_ins=_sign_ins(database, org, since, now, limit, actor_ids=ids),
                alerts=list_alerts(database, AlertFilter(orgs=[org], actor_ids=ids), limit=_ALERTS),
            )
        )
    return profiles


def address_profiles(
    database: Database,
    network: Network,
    *,
    orgs: Sequence[str],
    since: datetime | None,
    limit: int,
    now: datetime,
) -> list[Profile]:
    """Return a profile for each org that has sign-ins from a network."""
    profiles = []
    for org, sightings in _by_org(address(database, None, network), orgs):
        addresses = sorted({sighting.client_ip for sighting in sightings})
        profiles.append(
            Profile(
                org=org,
                sightings=sightings,
                others={},
                new=[],
                sign_ins=_sign_ins(database, org, since, now, limit, addresses=addresses),
                alerts=list_alerts(database, AlertFilter(orgs=[org], networks=[network]), limit=_ALERTS),
            )
        )
    return profiles


def newcomers(sightings: Sequence[Sighting], *, now: datetime) -> list[Newcomer]:
    """Return what a person first used within `RECENTLY`; nothing for a person who was first seen within that time."""
    recent = now - RECENTLY
    if not sightings or min(sighting.first_at for sighting in sightings) >= recent:
        return []
    first: dict[tuple[str, str], datetime] = {}
    for sighting in sightings:
        values = {
            "country": sighting.country,
            "network": f"AS{sighting.as_number}" if sighting.as_number is not None else None,
            "address": sighting.client_ip or None,
        }
        for what, value in values.items():
            if value is not None:
                first_used_at = first.get((what, value), sighting.first_at)
                first[what, value] = min(first_used_at, sighting.first_at)
    anonymized = [(sighting.anonymizer_at, sighting) for sighting in sightings if sighting.anonymizer_at]
    if anonymized:
        first_used_at, sighting = min(anonymized, key=itemgetter(0))
        first["anonymizer", sighting.operator or sighting.anonymizer or ""] = first_used_at
    new = [Newcomer(what=what, value=value, since=at) for (what, value), at in first.items() if at >= recent]
    return sorted(new, key=lambda newcomer: newcomer.since, reverse=True)


def _by_org(sightings: Iterable[Sighting], orgs: Sequence[str]) -> list[tuple[str, list[Sighting]]]:
    """Return the sightings by org, sorted by name. Without ``orgs``, include every org."""
    found: dict[str, list[Sighting]] = {}
    for sighting in sightings:
        if not orgs or sighting.org in orgs:
            found.setdefault(sighting.org, []).append(sighting)
    return sorted(found.items())


def _sign_ins(
    database: Database,
    org: str,
    since: datetime | None,
    now: datetime,
    limit: int,
    *,
    actor_ids: Sequence[str] = (),
    addresses: Sequence[str] = (),
) -> SignIns:
    return recent_sign_ins(
        database,
        org,
        actor_ids=actor_ids,
        addresses=addresses,
        since=since if since is not None else now - SPAN,
        until=now + timedelta(days=1),  # a server's clock may be ahead
        limit=limit,
        patience_s=PATIENCE_S if since is None else float("inf"),
    )
