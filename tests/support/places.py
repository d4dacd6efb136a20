"""Where a test's database lies: a file, or a database on a server. Tests that use one run on both."""

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import postgres


class Kind(enum.StrEnum):
    """What kind of database."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"


@dataclass(frozen=True)
class Place:
    """A place for one database."""

    kind: Kind
    folder: Path
    """For whatever else the test needs."""
    url: str


@contextmanager
def place_of(kind: Kind, folder: Path, *, schema: bool = True) -> Iterator[Place]:
    """Give a place. With ``schema`` a Postgres database has one already, which saves making it anew."""
    if kind is Kind.SQLITE:
        yield Place(kind, folder, f"sqlite:///{folder / 'oktawatch.db'}")
        return
    with postgres.fresh(schema=schema) as url:
        yield Place(kind, folder, url)
