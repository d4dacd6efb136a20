"""Keys that are accepted and have no effect yet: the one list of them.

An operator who sets one is told so, once, when the daemon starts. Whoever gives a key its effect takes
it off this list; nothing else needs to change.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from oktawatch.config.errors import Place
    from oktawatch.config.settings import Settings

KEYS: dict[str, frozenset[str]] = {
    "service": frozenset({"listen"}),
}


def places(settings: "Settings") -> "Iterator[Place]":
    """Find the keys of the list that an operator set."""
    for section, keys in KEYS.items():
        tables = getattr(settings, section)
        if isinstance(tables, BaseModel):
            yield from ((section, key) for key in _set_in(tables, keys))
        else:
            for index, table in enumerate(tables):
                yield from ((section, index, key) for key in _set_in(table, keys))


def _set_in(table: BaseModel, keys: frozenset[str]) -> list[str]:
    return sorted(key for key in keys & table.model_fields_set if getattr(table, key) is not None)
