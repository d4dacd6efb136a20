"""Count sign-ins by org, actor and address. Each combination has one row in ``sightings``.

A sign-in is an event of the type ``user.session.start``. The transaction that adds history to a sign-in's row in
``events`` also counts the sign-in, unless its key is in ``counted_sign_ins``. So each sign-in is counted exactly once:

- Each row gets its history once. The transaction holds a lock on the org's row, so no other transaction can add the same
  history. If the transaction is rolled back, the count is, too.
- Pruning deletes the row and inserts its key into ``counted_sign_ins`` in the same transaction. The key is kept
  until Okta deletes the event.

The result does not depend on the order in which sign-ins arrive. Times are minimums and maximums, and counts are
sums. The other columns (login, network, country, anonymizer) come from the latest sign-in by event time. If several
sign-ins have the same time, the one with the greatest uuid is the latest.

Actors without an id share one row for each address, with an empty ``actor_id``. Their logins are not stored, because
an attacker can type any number of logins. Sign-ins without an address have an empty ``client_ip``.

The same transaction records in ``familiar_days`` the days on which a person signed in successfully through an anonymizer
from a known device. This table is a set, so adding a day twice changes nothing.

The anonymizer is the classification of the address when the sign-in was read. Later changes of the evidence don't
change it.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, exists, select, tuple_

from oktawatch.model.history import SIGN_IN, HistoryRow
from oktawatch.model.match import FAILURES, SUCCESSES, EventKey
from oktawatch.model.person_past import FamiliarDay, familiar_day
from oktawatch.model.timestamps import from_text, to_text
from oktawatch.store import tables
from oktawatch.store.bulk_insert import insert_for_org

_OF_THE_LATEST = (
    "actor_alternate_id", "as_number", "country", "anonymizer", "operator", "last_at", "last_uuid",
)  # fmt: skip
_is_later = "(excluded.last_at, excluded.last_uuid) > (sightings.last_at, sightings.last_uuid)"
_MERGE = f"""
    (org, actor_id, client_ip) DO UPDATE SET
      first_at = CASE WHEN excluded.first_at < sightings.first_at THEN excluded.first_at ELSE sightings.first_at END,
      successes = sightings.successes + excluded.successes,
      failures = sightings.failures + excluded.failures,
      anonymizer_at = coalesce(
        CASE WHEN excluded.anonymizer_at < sightings.anonymizer_at THEN excluded.anonymizer_at END,
        sightings.anonymizer_at, excluded.anonymizer_at
      ),
      {", ".join(f"{name} = CASE WHEN {_is_later} THEN excluded.{name} ELSE sightings.{name} END" for name in _OF_THE_LATEST)}
"""

_counted = tables.counted_sign_ins.c
_ANY_COUNTED = select(
    exists().where(
        _counted.org == bindparam("org"), _counted.published.between(bindparam("since"), bindparam("until"))
    )
)
_COUNTED = select(_counted.published, _counted.uuid).where(
    _counted.org == bindparam("org"),
    tuple_(_counted.published, _counted.uuid).in_(bindparam("keys", expanding=True)),
)
_KEYS = 10_000  # per query: each key needs two parameters, and SQLite allows 32,766

_event_key = attrgetter("published", "uuid")


def count_sign_ins(connection: Connection, org: str, rows: Sequence[HistoryRow]) -> None:
    """Count the sign-ins among rows that this transaction adds to history. It must hold the lock on the org's row."""
    sign_ins = [row for row in rows if row.event_type == SIGN_IN]
    if not sign_ins:
        return
    counted = _counted_before(connection, org, sign_ins)
    summaries = _summaries(
        [row for row in sign_ins if _event_key(row) not in counted] if counted else sign_ins
    )
    insert_for_org(
        connection, tables.sightings, org, summaries, columns=("org", *_Summary._fields), on_conflict=_MERGE
    )
    days = sorted({day for row in sign_ins if (day := familiar_day(row)) is not None})
    insert_for_org(connection, tables.familiar_days, org, days, columns=("org", *FamiliarDay._fields))


def _counted_before(connection: Connection, org: str, rows: Sequence[HistoryRow]) -> set[EventKey]:
    """Return the keys of the sign-ins that were counted and pruned earlier."""
    times = [row.published for row in rows]
    time_range = {"org": org, "since": from_text(min(times)), "until": from_text(max(times))}
    if not connection.execute(_ANY_COUNTED, time_range).scalar_one():
        return set()
    keys = [(from_text(row.published), row.uuid) for row in rows]
    found = (
        connection.execute(_COUNTED, {"org": org, "keys": keys[start : start + _KEYS]})
        for start in range(0, len(keys), _KEYS)
    )
    return {(to_text(published), uuid) for part in found for published, uuid in part}


class _Summary(NamedTuple):
    """The columns of a sighting without its org: a summary of one actor's sign-ins from one address."""

    actor_id: str
    client_ip: str
    actor_alternate_id: str | None
    first_at: str
    last_at: str
    successes: int
    failures: int
    as_number: int | None
    country: str | None
    anonymizer: str | None
    operator: str | None
    anonymizer_at: str | None
    last_uuid: str


def _summaries(rows: Sequence[HistoryRow]) -> list[_Summary]:
    """Summarise sign-ins by actor and address. Sort the summaries by key, so that SQLite changes fewer pages of its file."""
    pairs: dict[tuple[str, str], _Summary] = {}
    for row in sorted(rows, key=_event_key):
        pair = (row.actor_id or "", row.client_ip or "")
        kind, operator = row.anonymizer or (None, None)
        earlier = pairs.get(pair)
        pairs[pair] = _Summary(
            *pair,
            row.actor_alternate_id if row.actor_id else None,
            earlier.first_at if earlier else row.published,
            row.published,
            (earlier.successes if earlier else 0) + (row.outcome in SUCCESSES),
            (earlier.failures if earlier else 0) + (row.outcome in FAILURES),
            row.as_number,
            row.country,
            kind,
            operator,
            (earlier and earlier.anonymizer_at) or (row.published if kind else None),
            row.uuid,
        )
    return [pairs[pair] for pair in sorted(pairs)]
