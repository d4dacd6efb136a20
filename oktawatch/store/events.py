"""What has been seen of an org: a row an event, with what is remembered of it and which signals it is.

The three come about together and lie in one row: most of what a row costs is its key, so that a table for
each would cost as much as all the fields that rules look back at.

Polling hardly ever brings what is there already. Where it may, since something lies in the stretch of time
of the page, its events are looked up first: so it is known of each what is new, and what an earlier reading
with fewer rules left out is filled in. What is there stays as it is.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from operator import itemgetter
from typing import NamedTuple, Protocol

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, bindparam, update

from oktawatch.model.history import COLUMNS, KEY, HistoryRow
from oktawatch.model.match import EventKey, Names, PageSignals
from oktawatch.store import tables
from oktawatch.store.backend import to_json
from oktawatch.store.bulk_insert import insert_of

_SEEN = ("org", "published", "uuid")
_WHOLE = (*_SEEN, "proxied_actor", "fields", "signals")
_Row = tuple[str, str, str | None, str | None, str | None]
"""The values of all of these but the org."""

_FILL_IN = """
    (org, published, uuid) DO UPDATE SET
      proxied_actor = CASE WHEN events.fields IS NULL THEN excluded.proxied_actor ELSE events.proxied_actor END,
      fields = coalesce(events.fields, excluded.fields),
      signals = coalesce(excluded.signals, events.signals)
"""
_RENEW = (
    update(tables.orgs)
    .where(tables.orgs.c.name == bindparam("org"))
    .values(history_version=bindparam("version"))
)


class _Sql(Struct, frozen=True):
    """How one database is asked."""

    nothing_between: str
    """Asked with the org and both ends, which are included."""
    known: str
    """Gives the published, the uuid, whether it is remembered, and the signals. Asked with keys and the org."""


# As in `history`: CROSS JOIN and OFFSET 0 keep the order, from each key to its row.
_SQL = {
    "sqlite": _Sql(
        nothing_between="SELECT NOT EXISTS (SELECT 1 FROM events WHERE org = ? AND published BETWEEN ? AND ?)",
        known="""
            SELECT published, uuid, fields IS NOT NULL, signals
            FROM json_each(?) AS asked CROSS JOIN events
            WHERE org = ?
              AND published = json_extract(asked.value, '$[0]') AND uuid = json_extract(asked.value, '$[1]')
        """,
    ),
    "postgresql": _Sql(
        nothing_between="""
            SELECT NOT EXISTS (
                SELECT 1 FROM events WHERE org = %s AND published BETWEEN %s::timestamptz AND %s::timestamptz
            )
        """,
        known="""
            SELECT asked ->> 0, uuid, is_remembered, signals
            FROM jsonb_array_elements(%s::jsonb) AS asked
            CROSS JOIN LATERAL (
                SELECT uuid, fields IS NOT NULL AS is_remembered, signals::text AS signals FROM events
                WHERE org = %s AND published = (asked ->> 0)::timestamptz AND uuid = asked ->> 1
                OFFSET 0
            ) AS found
        """,
    ),
}

NO_SIGNALS = PageSignals()

_encode, _values_of = msgspec.json.encode, msgspec.structs.astuple
_fields, _signals = itemgetter(3), itemgetter(4)


class Keyed(Protocol):
    """An event, or what is remembered of one."""

    @property
    def published(self) -> str:
        """Canonical text."""

    @property
    def uuid(self) -> str:
        """Okta's id of the event."""


class _Known(NamedTuple):
    """What is there of an event that is there."""

    is_remembered: bool
    signals: Names


class Added(Struct, frozen=True):
    """What was new."""

    events: int
    """Events that had not been seen."""
    signals: int
    """Signals that had not been recorded."""
    version: str | None = None
    """Which version of history this is, if it has more rows now."""


def add_events(
    connection: Connection,
    org: str,
    events: Sequence[Keyed],
    rows: Sequence[HistoryRow] = (),
    signals: PageSignals = NO_SIGNALS,
) -> Added:
    """Add a page: its events, of some what is remembered, of some which signals they are; give what was new.

    The org's row is held, so that nobody else adds any. History has another version when it has more rows.
    """
    if not rows and not any(signals.own) and not signals.others:
        # `published` is canonical text, which both databases take as it is.
        seen = [(event.published, event.uuid) for event in events]
        return Added(insert_of(connection, tables.events, org, seen, columns=_SEEN), 0)
    page = _page(events, rows, signals.own)
    others = _others(page, signals.others)
    known = _known(connection, org, page | others)
    lacking, added = _lacking(page, others, known)
    if lacking:
        insert_of(connection, tables.events, org, lacking, columns=_WHOLE, otherwise=_FILL_IN)
    if not any(map(_fields, lacking)):
        return added
    # Drawn, not counted: after a rollback another writer must not come to the same version.
    version = secrets.token_hex(8)
    connection.execute(_RENEW, {"org": org, "version": version})
    return msgspec.structs.replace(added, version=version)


def _page(
    events: Sequence[Keyed], rows: Sequence[HistoryRow], names: Sequence[Names]
) -> dict[EventKey, _Row]:
    """Make the rows of a page, one for each event, be it on the page once or twice."""
    texts = {some: _written(some) for some in set(names)}
    signals: Iterable[str | None] = map(texts.__getitem__, names) if names else repeat(None, len(events))
    remembered: Iterable[HistoryRow | None] = rows
    if len(rows) != len(events):
        of_keys = {(row.published, row.uuid): row for row in reversed(rows)}  # the first one stays
        remembered = [of_keys.get((event.published, event.uuid)) for event in events]
    made: list[_Row] = [
        (event.published, event.uuid, None, None, signal)
        if row is None
        else (
            row.published,
            row.uuid,
            row.actor_id if row.is_proxy else None,
            _encode(_values_of(row)[KEY:COLUMNS]).decode(),
            signal,
        )
        for event, row, signal in zip(events, remembered, signals, strict=True)
    ]
    page = {row[:2]: row for row in made}
    if len(page) < len(made):
        page |= {row[:2]: row for row in reversed(made)}  # the first one stays
    return page


def _others(page: dict[EventKey, _Row], others: Mapping[EventKey, Names]) -> dict[EventKey, _Row]:
    """Make the rows of other events that signals are about; what is on the page gets them there."""
    apart: dict[EventKey, _Row] = {}
    for key, names in others.items():
        row = page.get(key)
        if row is None:
            apart[key] = (*key, None, None, _written(names))
        else:
            page[key] = (*row[:4], _written(tuple(dict.fromkeys((*_read(row[4]), *names)))))
    return apart


def _known(connection: Connection, org: str, asked: Mapping[EventKey, _Row]) -> dict[EventKey, _Known]:
    """Say what is there of these events."""
    sql = _SQL[connection.dialect.name]
    times = [published for published, _ in asked]
    stretch = (org, min(times), max(times))
    if connection.exec_driver_sql(sql.nothing_between, stretch).scalar_one():
        return {}
    found = connection.exec_driver_sql(sql.known, (to_json(list(asked)), org))
    return {
        (published, uuid): _Known(bool(is_remembered), _read(names))
        for published, uuid, is_remembered, names in found
    }


def _lacking(
    page: Mapping[EventKey, _Row], others: Mapping[EventKey, _Row], known: Mapping[EventKey, _Known]
) -> tuple[list[_Row], Added]:
    """Give the rows that the database lacks something of, and how much of it is new."""
    new = [row for key, row in page.items() if key not in known] if known else list(page.values())
    counted = Counter(map(_signals, new))
    signals = sum(len(_read(names)) * count for names, count in counted.items())
    lacking = list(new)
    # Of others that are there no more, signals are none either.
    for key, there in known.items():
        published, uuid, proxied_actor, fields, names = page.get(key) or others[key]
        if there.is_remembered:
            proxied_actor = fields = None  # it stays as it is
        further = [name for name in _read(names) if name not in there.signals]
        if further or fields:
            signals += len(further)
            names = _written((*there.signals, *further)) if further else None
            lacking.append((published, uuid, proxied_actor, fields, names))
    return lacking, Added(len(new), signals)


def _written(names: Names) -> str | None:
    return _encode(names).decode() if names else None


@lru_cache(maxsize=256)
def _read(names: str | None) -> Names:
    return tuple(msgspec.json.decode(names)) if names else ()
