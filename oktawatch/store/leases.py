"""Leases: which replica polls which org.

Correctness does not depend on leases. If two replicas poll the same org, matches are still unique, and the
later of two pages that move the same cursor is rolled back. So a lease is simply a row with an expiry time,
by the database's clock.

Every replica calls `keep` at short intervals. It renews its leases, releases those above its share (the orgs
divided by the live replicas) and takes free leases up to its share. When a replica stops, it releases
its leases. The leases of a replica that crashed expire, unless it restarts earlier under the same name.
"""

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from oktawatch.store import tables
from oktawatch.store.bulk_insert import insert_new
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError

_leases, _replicas = tables.leases.c, tables.replicas.c
_now: Any = func.now()
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_KEPT_FOR = timedelta(days=1)
"""How long the row of a replica that disappeared is kept after it expired."""
_FAR = 10
"""A lease that expires in more than this many lease durations was taken before the server's clock was set back."""


class NameTakenError(StoreError):
    """Another process uses this replica's name."""

    reason = "name_taken"


class Leases:
    """The leases of one replica, on Postgres. Not thread-safe."""

    def __init__(self, name: str, orgs: Sequence[str], *, lasts: timedelta) -> None:
        """``lasts`` is how long a lease is valid after it was taken or renewed."""
        self._name = name
        self._orgs = sorted(orgs)
        self._lasts = lasts
        self._run = str(uuid.uuid4())
        self._begun = False
        self._share_before = 0
        self._given_up: set[str] = set()
        self._unwanted: set[str] = set()
        """Orgs that this replica released and no other replica took, probably because no other has them configured."""

    def keep(self, database: Database) -> frozenset[str]:
        """Renew, release and acquire leases; return the orgs of all leases held from now on.

        Raises NameTakenError if a process that started later uses the same name.
        """
        with database.write() as connection:
            self._record_alive(connection)
            if not self._begun:
                self._prepare(connection)
            held = set(self._renew(connection))
            share = self._share(connection)
            excess = len(held - self._unwanted) - share
            if excess > 0:
                held -= self._give_up(connection, sorted(held - self._unwanted)[-excess:])
            elif excess < 0:
                held |= self._take(connection, _leases.expires_at <= _now, -excess)
            # Even above the share, acquire orgs that no replica took within the duration of a lease.
            abandoned = (_leases.expires_at <= _now - self._lasts) | (
                _leases.expires_at > _now + _FAR * self._lasts
            )
            held |= self._take(connection, abandoned, len(self._orgs))
        self._begun = True
        self._unwanted |= held & self._given_up
        self._given_up -= held
        return frozenset(held)

    def release(self, database: Database) -> None:
        """Release all leases, unless another process has taken over this replica's name."""
        with database.write() as connection:
            gone = delete(tables.replicas).where(_replicas.name == self._name, _replicas.run == self._run)
            if connection.execute(gone).rowcount:
                free = update(tables.leases).where(_leases.holder == self._name)
                connection.execute(free.values(holder=None, expires_at=_now))

    def _record_alive(self, connection: Connection) -> None:
        """Record that this replica is alive. The process that started last owns the name."""
        from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415 -- slow, and only replicas use it

        row = insert(tables.replicas).values(name=self._name, run=self._run, expires_at=_now + self._lasts)
        mine = (_replicas.run == self._run) | (_replicas.expires_at <= _now)
        seen = row.on_conflict_do_update(
            index_elements=[_replicas.name],
            set_={"run": row.excluded.run, "expires_at": row.excluded.expires_at},
            where=mine if self._begun else None,
        )
        if connection.execute(seen.returning(_replicas.name)).first() is None:
            raise NameTakenError(
                f"another process runs as {self._name}: give each replica its own service.instance"
            )

    def _prepare(self, connection: Connection) -> None:
        """Insert a free lease for each org without one, and delete replicas that expired `_KEPT_FOR` ago."""
        rows = [(org, None, _LONG_AGO) for org in self._orgs]
        insert_new(connection, tables.leases, rows, ("org", "holder", "expires_at"))
        connection.execute(delete(tables.replicas).where(_replicas.expires_at <= _now - _KEPT_FOR))

    def _renew(self, connection: Connection) -> Iterable[str]:
        renewed = (
            update(tables.leases)
            .where(_leases.holder == self._name, _leases.org.in_(self._orgs))
            .values(expires_at=_now + self._lasts)
            .returning(_leases.org)
        )
        return connection.execute(renewed).scalars()

    def _share(self, connection: Connection) -> int:
        alive = select(func.count()).select_from(tables.replicas).where(_replicas.expires_at > _now)
        share = -(-len(self._orgs) // connection.execute(alive).scalar_one())
        if share != self._share_before:
            self._share_before = share
            self._given_up, self._unwanted = set(), set()
        return share

    def _give_up(self, connection: Connection, orgs: Sequence[str]) -> set[str]:
        free = update(tables.leases).where(_leases.org.in_(orgs), _leases.holder == self._name)
        connection.execute(free.values(holder=None, expires_at=_now))
        self._given_up.update(orgs)
        return set(orgs)

    def _take(self, connection: Connection, free: Any, most: int) -> set[str]:
        found = (
            select(_leases.org)
            .where(_leases.org.in_(self._orgs), free)
            .order_by(_leases.org)
            .limit(most)
            .with_for_update(skip_locked=True)
            .cte("found")
        )
        taken = (
            update(tables.leases)
            .where(_leases.org.in_(select(found.c.org)))
            .values(holder=self._name, expires_at=_now + self._lasts)
            .returning(_leases.org)
        )
        return set(connection.execute(taken).scalars())


def holders(connection: Connection) -> dict[str, str]:
    """Return the name of the replica that holds the lease of each org, by org."""
    found = select(_leases.org, _leases.holder).where(_leases.holder.is_not(None), _leases.expires_at > _now)
    return {row[0]: row[1] for row in connection.execute(found)}
