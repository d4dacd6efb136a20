"""Look up the sightings of a person or an address, and what was new for a person at some time."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, func, select, tuple_

from oktawatch.model.sighting import Novelty, Sighting
from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.networks import Network, lies_in, prefix_of, spellings

_columns = tables.sightings.c
_SIGHTING = tuple(_columns[name] for name in Sighting.__struct_fields__)
# Look up addresses in their index, and the rows by the keys found there. Otherwise SQLite, which has no statistics,
# prefers the primary key and reads all rows of the org.
_indexed = tables.sightings.alias("indexed").c
_same_key = [_columns[key.name] == _indexed[key.name] for key in tables.sightings.primary_key]
_PLACES = {"country": "country", "network": "as_number", "address": "client_ip"}
"""What can be new for a person, and the column that it is compared by."""
_EARLIER = _columns.first_at < bindparam("at", type_=_columns.first_at.type)
_KNOWN = select(
    func.min(case((_EARLIER, _columns.first_at))),
    func.min(_columns.anonymizer_at),
    func.min(case((_columns.client_ip == bindparam("client_ip"), _columns.anonymizer_at))),
    *(func.count(case((and_(_EARLIER, _columns[name] == bindparam(name)), 1))) for name in _PLACES.values()),
).where(_columns.org == bindparam("org"), _columns.actor_id == bindparam("actor_id"))
"""What a person's sightings have in common with a sign-in. Built once, because building it takes longer than running it."""
_OTHERS = (
    select(func.count())
    .select_from(tables.sightings)
    .where(
        _columns.org == bindparam("org"),
        _columns.client_ip == bindparam("client_ip"),
        _columns.actor_id.not_in(("", bindparam("actor_id"))),
    )
)
"""The number of other people at an address, who have a row each."""
_MOST_VALUES = 5_000  # in one IN; SQLite allows 32,766 parameters


def person(database: Database, org: str | None, name: str) -> list[Sighting]:
    """Return the sightings of the actor whose id is ``name``, or else of all actors with this login, the latest first.

    A login is compared case-insensitively with those in the sightings. ``org`` None: every org.
    """
    with database.read() as connection:
        found = _rows(connection, _of(org), _columns.actor_id == name) if name else []
        if not found:
            actors = _actors(connection, org, name)
            for chunk in _chunks(actors):
                found += _rows(connection, tuple_(_columns.org, _columns.actor_id).in_(chunk))
    return _latest_first(found)


def address(database: Database, org: str | None, network: Network) -> list[Sighting]:
    """Return the sightings of the addresses in a network, the latest first. ``org`` None: every org."""
    with database.read() as connection:
        found = []
        for chunk in _chunks(_addresses(connection, org, network)):
            found += _rows(connection, *_same_key, _of(org, _indexed), _indexed.client_ip.in_(chunk))
    return _latest_first(found)


def novelty(
    database: Database,
    org: str,
    actor_id: str | None,
    client_ip: str | None,
    *,
    as_number: int | None,
    country: str | None,
    at: datetime,
) -> Novelty:
    """Return what was new for a person who signed in from an address at some time: see `novelty_within`."""
    with database.read() as connection:
        return novelty_within(
            connection, org, actor_id, client_ip, as_number=as_number, country=country, at=at
        )


def novelty_within(
    connection: Connection,
    org: str,
    actor_id: str | None,
    client_ip: str | None,
    *,
    as_number: int | None,
    country: str | None,
    at: datetime,
) -> Novelty:
    """Return what was new for a person, within a transaction.

    An address, network or country is new if no sighting that began before ``at`` has it. A sighting has the
    network and country of its latest sign-in. An anonymizer is new if the person's first sign-in through any
    anonymizer was from this address at ``at``.
    """
    sighting_key: dict[str, Any] = {"org": org, "actor_id": actor_id or "", "client_ip": client_ip}
    others = connection.execute(_OTHERS, sighting_key).scalar_one() if client_ip else 0
    if not actor_id:
        return Novelty(new=(), known_since=None, others=others)
    sign_in = sighting_key | {"country": country, "as_number": as_number, "at": at}
    known_since, anonymized_at, anonymized_here_at, *known = connection.execute(_KNOWN, sign_in).one()
    new = [
        name
        for (name, column), count in zip(_PLACES.items(), known, strict=True)
        if sign_in[column] is not None and not count
    ]
    if anonymized_at == anonymized_here_at == at:
        new.append("anonymizer")
    return Novelty(new=tuple(new), known_since=known_since, others=others)


def _actors(connection: Connection, org: str | None, login: str) -> list[tuple[str, str]]:
    """Return the org and id of each actor with a login."""
    query = select(_columns.org, _columns.actor_id).where(
        _of(org), func.lower(_columns.actor_alternate_id) == func.lower(login)
    )
    return [(row[0], row[1]) for row in connection.execute(query.distinct())]


def _addresses(connection: Connection, org: str | None, network: Network) -> list[str]:
    """Return the seen addresses of a network, as Okta wrote them, or all spellings of a single address."""
    if network.num_addresses == 1:
        return spellings(network)
    query = select(_columns.client_ip).where(_of(org), _may_lie_in(network)).distinct()
    return [text for text in connection.execute(query).scalars() if lies_in(text, network)]


def _may_lie_in(network: Network) -> ColumnElement[bool]:
    """Return a condition that every address in the network meets, to parse fewer rows."""
    prefix = prefix_of(network)
    if not prefix:
        return _columns.client_ip.contains("." if network.version == 4 else ":")  # noqa: PLR2004 -- IPv4
    end = f"{prefix.removesuffix('.')}/"  # "/" is the character after "."
    return and_(_columns.client_ip >= prefix, _columns.client_ip < end)


def _of(org: str | None, columns: Any = _columns) -> ColumnElement[bool]:
    """Return the condition for one org, or for all orgs if ``org`` is None. It always names the orgs, because the indexes begin with them."""
    condition: ColumnElement[bool] = (
        columns.org.in_(select(tables.orgs.c.name)) if org is None else columns.org == org
    )
    return condition


def _rows(connection: Connection, *conditions: ColumnElement[bool]) -> list[Sighting]:
    found = connection.execute(select(*_SIGHTING).where(*conditions)).mappings()
    return [Sighting(**row) for row in found]


def _latest_first(found: Sequence[Sighting]) -> list[Sighting]:
    return sorted(
        found,
        key=lambda sighting: (
            -sighting.last_at.timestamp(), sighting.org, sighting.actor_id, sighting.client_ip,
        ),
    )  # fmt: skip


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _MOST_VALUES):
        yield values[start : start + _MOST_VALUES]
