"""Column types and statements that the revisions in ``migrations/`` share.

A revision must always create the same schema. So don't change a function that a released revision calls: add another one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB


def moment() -> sa.types.TypeEngine[Any]:
    """Return the type of a point in time."""
    return sa.String(24).with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def count() -> sa.types.TypeEngine[Any]:
    """Return the type of ids and counts. SQLite generates ids only for columns of the type INTEGER."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def document() -> sa.types.TypeEngine[Any]:
    """Return the type of a JSON value."""
    return sa.JSON().with_variant(JSONB(), "postgresql")


def ascii_text() -> sa.types.TypeEngine[Any]:
    """Return the type of text that is sorted by bytes."""
    return sa.String().with_variant(sa.String(collation="C"), "postgresql")


def on_postgres() -> bool:
    """Return whether the database is Postgres."""
    return op.get_bind().dialect.name == "postgresql"


def lock_tables(*tables: str) -> None:
    """Lock tables that are copied and then dropped, so that no row is lost. On SQLite, the migration holds the lock."""
    if on_postgres():
        op.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")


def create_history_view(columns: Sequence[str], types: Mapping[str, str], *, table: str = "events") -> None:
    """Create the view ``history`` from the arrays in ``fields``.

    ``columns`` are in the order of the array. Their type is VARCHAR unless ``types`` has another one.
    """
    selected = ", ".join(history_columns(columns, types))
    op.execute(f"CREATE VIEW history AS SELECT {selected} FROM {table} WHERE fields IS NOT NULL")  # noqa: S608 -- names in revisions


def history_columns(columns: Sequence[str], types: Mapping[str, str]) -> list[str]:
    """Return the SQL of the columns of ``history``, as `create_history_view` selects them."""
    field = "fields ->> {}" if on_postgres() else "json_extract(fields, '$[{}]')"
    return [
        *("org", "published", "uuid"),
        *(
            f"CAST({field.format(index)} AS {types.get(name, 'VARCHAR')}) AS {name}"
            for index, name in enumerate(columns)
        ),
    ]
