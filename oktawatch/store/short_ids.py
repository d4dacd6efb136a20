"""Short ids of notifications: the beginning of the UUID that no other notification shares.

Ids are compared with ``BETWEEN`` so that the primary key's index finds them: an id that begins with a prefix
lies between the prefix and the prefix followed by a letter that no UUID contains.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from sqlalchemy import ColumnElement, Connection, or_, select

from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError

SHORTEST = 8
"""Characters of a short id."""
_AFTER_HEX = "g"
_AT_ONCE = 100  # prefixes in one statement
_PREFIX = re.compile(rf"[0-9a-f-]{{{SHORTEST},36}}").fullmatch

_id = tables.notifications.c.id


class NotificationIdError(StoreError):
    """A text names no notification, or several; nothing was changed."""


def find_ids(database: Database, texts: Sequence[str]) -> list[str]:
    """Return the ids of the notifications that these ids or prefixes name, without duplicates.

    Raises NotificationIdError for a text that is no prefix, or that none or several notifications share.
    """
    with database.read() as connection:
        return list(dict.fromkeys(_find(connection, text) for text in texts))


def short_ids(database: Database, ids: Sequence[str]) -> dict[str, str]:
    """Return the short id of each of these notifications, by its id."""
    with database.read() as connection:
        similar = {one for some in _chunks(ids) for one in _beginning(connection, some)}
    lengths = dict.fromkeys(ids, SHORTEST)
    for one, other in pairwise(sorted(similar.union(ids))):  # neighbours share the most characters
        length = 1 + _shared(one, other)
        for notification_id in lengths.keys() & {one, other}:
            lengths[notification_id] = max(lengths[notification_id], length)
    return {one: one[:length] for one, length in lengths.items()}


def _shared(one: str, other: str) -> int:
    """Return the number of characters that two texts begin with in common."""
    return next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))


def _find(connection: Connection, text: str) -> str:
    prefix = text.lower()
    found = _beginning(connection, [prefix], length=len(prefix)) if _PREFIX(prefix) else []
    if len(found) == 1:
        return found[0]
    if found:
        longer = ", ".join(sorted(one[: len(prefix) + 4] for one in found[:3]))
        raise NotificationIdError(f"ambiguous id ({text}): give more of it, such as {longer}")
    raise NotificationIdError(f"no such notification ({text}): see 'oktawatch notifications list'")


def _beginning(connection: Connection, texts: Sequence[str], *, length: int = SHORTEST) -> list[str]:
    """Return the ids that have their first characters in common with one of these texts."""
    prefixes = {text[:length] for text in texts}
    conditions: list[ColumnElement[bool]] = [_id.between(one, one + _AFTER_HEX) for one in prefixes]
    found = connection.execute(select(_id).where(or_(*conditions))).scalars()
    return [one for one in found if one[:length] in prefixes]


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]
