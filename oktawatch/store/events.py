"""Store the events of an org. An event, its history row and its signals share one row of the table.

They share a row, because most of the cost of a row is its key.

If the table has rows in the page's time range, the page's events are looked up before the insert, to count the new ones. If
an event was first read with fewer rules enabled, its missing history or signals are added. Nothing stored is removed.
"""

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from types import MappingProxyType
from typing import NamedTuple, Protocol

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, bindparam, update

from oktawatch.model.history import HistoryRow
from oktawatch.model.match import EventKey, SignalIds, Signals
from oktawatch.model.person_past import failed_actor
from oktawatch.store import tables
from oktawatch.store.backend import to_json
from oktawatch.store.bulk_insert import insert_for_org
from oktawatch.store.history_fields import encode_fields
from oktawatch.store.sightings import count_sign_ins

_KEY = ("org", "published", "uuid")
_WHOLE = (*_KEY, "proxied_actor", "failed_actor", "fields", "signals")
_Row = tuple[str, str, str | None, str | None, str | None, str | None]
"""The values of the columns in `_WHOLE` except the org."""

_FILL_IN = """
    (org, published, uuid) DO UPDATE SET
      proxied_actor = CASE WHEN events.fields IS NULL THEN excluded.proxied_actor ELSE events.proxied_actor END,
      failed_actor = CASE WHEN events.fields IS NULL THEN excluded.failed_actor ELSE events.failed_actor END,
      fields = coalesce(events.fields, excluded.fields),
      signals = coalesce(excluded.signals, events.signals)
"""
_SET_VERSION = (
    update(tables.orgs)
    .where(tables.orgs.c.name == bindparam("org"))
    .values(history_version=bindparam("version"))
)


class _Sql(Struct, frozen=True):
    """The SQL of one database."""

    nothing_between: str
    """Parameters: the org and a time range, both ends included."""
    known: str
    """Parameters: keys and the org. Columns: published, uuid, whether there is history, the signals."""


# CROSS JOIN and OFFSET 0 keep the join order: from each key to its row.
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
            SELECT asked ->> 0, uuid, has_history, signals
            FROM jsonb_array_elements(%s::jsonb) AS asked
            CROSS JOIN LATERAL (
                SELECT uuid, fields IS NOT NULL AS has_history, signals::text AS signals FROM events
                WHERE org = %s AND published = (asked ->> 0)::timestamptz AND uuid = asked ->> 1
                OFFSET 0
            ) AS found
        """,
    ),
}

NO_SIGNALS: Signals = MappingProxyType({})

_encode = msgspec.json.encode
_signals = itemgetter(5)


class Keyed(Protocol):
    """An event or a history row."""

    @property
    def published(self) -> str:
        """Canonical text."""

    @property
    def uuid(self) -> str:
        """Okta's id of the event."""


class _Known(NamedTuple):
    """The stored parts of an event."""

    has_history: bool
    signals: SignalIds


class Added(Struct, frozen=True):
    """The number of new events and signals."""

    events: int
    """Events that were not stored before."""
    signals: int
    """Signals that were not stored before."""
    version: str | None = None
    """The new version of the org's history, if rows were added to it."""


def add_events(
    connection: Connection,
    org: str,
    events: Sequence[Keyed],
    rows: Sequence[HistoryRow] = (),
    signals: Signals = NO_SIGNALS,
) -> Added:
    """Add a page's events with their history rows and signals; return how much was new.

    The caller holds the lock on the org's row, so no other process adds events. New history rows change the
    history's version.
    """
    if not rows and not signals:
        # Both databases accept `published` as it is, because it is canonical text.
        keys = [(event.published, event.uuid) for event in events]
        return Added(insert_for_org(connection, tables.events, org, keys, columns=_KEY), 0)
    history = {(row.published, row.uuid): row for row in reversed(rows)}
    page = _page(events, history, signals)
    # A late event can make an event of an earlier page a signal. If that event was pruned, the signal is not stored.
    earlier = {
        key: (*key, None, None, None, _to_json(ids)) for key, ids in signals.items() if key not in page
    }
    known = _known(connection, org, page | earlier)
    incomplete, added = _incomplete(page, earlier, known)
    if incomplete:
        insert_for_org(connection, tables.events, org, incomplete, columns=_WHOLE, on_conflict=_FILL_IN)
    new_history = [history[published, uuid] for published, uuid, _, _, fields, _ in incomplete if fields]
    if not new_history:
        return added
    count_sign_ins(connection, org, new_history)
    # Random, because a counter would give the same version to two writers if the first one is rolled back.
    version = secrets.token_hex(8)
    connection.execute(_SET_VERSION, {"org": org, "version": version})
    return msgspec.structs.replace(added, version=version)


def _page(
    events: Sequence[Keyed], history: Mapping[EventKey, HistoryRow], signals: Signals
) -> dict[EventKey, _Row]:
    """Return the database rows of a page. Of several events with the same key, the first is stored."""
    page: dict[EventKey, _Row] = {}
    for event in events:
        key = (event.published, event.uuid)
        if key not in page:
            row, ids = history.get(key), _to_json(signals.get(key, ()))
            if row is None:
                page[key] = (*key, None, None, None, ids)
            else:
                proxied = row.actor_id if row.is_anonymized else None
                page[key] = (*key, proxied, failed_actor(row), encode_fields(row), ids)
    return page


def _known(connection: Connection, org: str, keys: Mapping[EventKey, _Row]) -> dict[EventKey, _Known]:
    """Return the stored parts of these events, by key. Events that are not stored are absent."""
    sql = _SQL[connection.dialect.name]
    times = [published for published, _ in keys]
    time_range = (org, min(times), max(times))
    if connection.exec_driver_sql(sql.nothing_between, time_range).scalar_one():
        return {}
    found = connection.exec_driver_sql(sql.known, (to_json(list(keys)), org))
    return {
        (published, uuid): _Known(bool(has_history), _from_json(ids))
        for published, uuid, has_history, ids in found
    }


def _incomplete(
    page: Mapping[EventKey, _Row], earlier: Mapping[EventKey, _Row], known: Mapping[EventKey, _Known]
) -> tuple[list[_Row], Added]:
    """Return the rows that are missing or incomplete in the database, and how much is new."""
    new = [row for key, row in page.items() if key not in known] if known else list(page.values())
    counted = Counter(map(_signals, new))
    signals = sum(len(_from_json(ids)) * count for ids, count in counted.items())
    incomplete = list(new)
    for key, stored in known.items():
        published, uuid, proxied, failed, fields, ids = page.get(key) or earlier[key]
        if stored.has_history:
            proxied = failed = fields = None  # stored history doesn't change
        new_ids = [rule_id for rule_id in _from_json(ids) if rule_id not in stored.signals]
        if new_ids or fields:
            signals += len(new_ids)
            ids = _to_json((*stored.signals, *new_ids)) if new_ids else None
            incomplete.append((published, uuid, proxied, failed, fields, ids))
    return incomplete, Added(len(new), signals)


@lru_cache(maxsize=256)
def _to_json(ids: SignalIds) -> str | None:
    return _encode(ids).decode() if ids else None


@lru_cache(maxsize=256)
def _from_json(ids: str | None) -> SignalIds:
    return tuple(msgspec.json.decode(ids)) if ids else ()
