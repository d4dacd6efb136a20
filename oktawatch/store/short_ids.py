"""Short ids of notifications: the shortest unique prefix of the UUID, of at least eight characters.

Prefixes are looked up with ``BETWEEN``, which uses the primary key's index: an id with a prefix lies between the
prefix and the prefix followed by a letter that no UUID contains.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from sqlalchemy import ColumnElement, Connection, or_, select

from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError

SHORTEST = 8
"""The minimum length of a short id."""
_AFTER_HEX = "g"
_MOST_PREFIXES = 100  # in one statement
_PREFIX = re.compile(rf"[0-9a-f-]{{{SHORTEST},36}}").fullmatch

_id = tables.notifications.c.id


class NotificationIdError(StoreError):
    """A text identifies no notification, or several. Nothing was changed."""


def find_ids(database: Database, texts: Sequence[str]) -> list[str]:
    """Return the ids of the notifications with these ids or prefixes, without duplicates.

    Raises NotificationIdError for a text that is not the prefix of exactly one notification.
    """
    with database.read() as connection:
        return list(dict.fromkeys(_find(connection, text) for text in texts))


def short_ids(database: Database, ids: Sequence[str]) -> dict[str, str]:
    """Return the short id of each of these notifications, by its id."""
    with database.read() as connection:
        similar = {found for chunk in _chunks(ids) for found in _ids_like(connection, chunk)}
    lengths = dict.fromkeys(ids, SHORTEST)
    for first, second in pairwise(sorted(similar.union(ids))):  # adjacent ids share the longest prefixes
        length = 1 + _shared(first, second)
        for notification_id in lengths.keys() & {first, second}:
            lengths[notification_id] = max(lengths[notification_id], length)
    return {notification_id: notification_id[:length] for notification_id, length in lengths.items()}


def _shared(first: str, second: str) -> int:
    """Return the length of the longest common prefix."""
    return next(
        (place for place, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), len(first)
    )


def _find(connection: Connection, text: str) -> str:
    prefix = text.lower()
    found = _ids_like(connection, [prefix], length=len(prefix)) if _PREFIX(prefix) else []
    if len(found) == 1:
        return found[0]
    if found:
        longer = ", ".join(sorted(match[: len(prefix) + 4] for match in found[:3]))
        raise NotificationIdError(f"ambiguous id ({text}): use a longer prefix, such as {longer}")
    raise NotificationIdError(f"no such notification ({text}): see 'oktawatch notifications list'")


def _ids_like(connection: Connection, texts: Sequence[str], *, length: int = SHORTEST) -> list[str]:
    """Return the ids that share their first ``length`` characters with one of these texts."""
    prefixes = {text[:length] for text in texts}
    conditions: list[ColumnElement[bool]] = [_id.between(prefix, prefix + _AFTER_HEX) for prefix in prefixes]
    candidates = connection.execute(select(_id).where(or_(*conditions))).scalars()
    return [candidate for candidate in candidates if candidate[:length] in prefixes]


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _MOST_PREFIXES):
        yield ids[start : start + _MOST_PREFIXES]
