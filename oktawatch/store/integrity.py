"""Check that a database is intact: its file, its schema and its foreign keys."""

from collections.abc import Callable

from msgspec import Struct
from sqlalchemy import func, select

from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.schema import current, differences

_MOST_SHOWN = 3
"""The maximum number of problems that a finding shows."""


class Finding(Struct, frozen=True, kw_only=True):
    """The result of one check."""

    about: str
    ok: bool
    message: str


def inspect(database: Database, *, about_to: Callable[[str], None] = lambda _about: None) -> list[Finding]:
    """Run all checks. ``about_to`` is called before each. Raises StoreError if the database can't be read.

    The checks of a large file take minutes. They read one snapshot each, and delay no writer.
    """
    findings = []
    for about, check in _CHECKS.items():
        about_to(about)
        problems, message = check(database)
        shown = "; ".join(problems[:_MOST_SHOWN]) + ("; …" if len(problems) > _MOST_SHOWN else "")
        findings.append(Finding(about=about, ok=not problems, message=shown or message))
    return findings


def count_rows(database: Database) -> dict[str, int]:
    """Return the number of rows of each table."""
    with database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in sorted(tables.metadata.tables.values(), key=lambda table: table.name)
        }


def _file(database: Database) -> tuple[list[str], str]:
    if database.shared:
        return [], "not checked here: Postgres checks its files (data_checksums, pg_amcheck)"
    with database.read() as connection:
        found = connection.exec_driver_sql(f"PRAGMA integrity_check({_MOST_SHOWN + 1})").scalars().all()
    return [" ".join(str(line).split()) for line in found if line != "ok"], "every page and index is intact"


def _schema(database: Database) -> tuple[list[str], str]:
    revision = current(database)
    if revision != tables.REVISION:
        return [f"at {revision}, this program needs {tables.REVISION}: run 'oktawatch db upgrade'"], ""
    return differences(database), f"at {revision}, as this program needs it"


def _foreign_keys(database: Database) -> tuple[list[str], str]:
    if database.shared:
        return [], "enforced by Postgres"
    with database.read() as connection:
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return [f"a row of {table} refers to a missing row of {parent}" for table, _, parent, _ in broken], (
        "every reference has its row"
    )


_CHECKS: dict[str, Callable[[Database], tuple[list[str], str]]] = {
    "file": _file,
    "schema": _schema,
    "references": _foreign_keys,
}
