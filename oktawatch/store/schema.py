"""Schema migrations with Alembic, from the repository or an installed wheel."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError, NoSuchTableError

import oktawatch
from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.errors import NewerSchemaError, SchemaError

_FIRST_RELEASE = "0.1.0"
_UNDEFINED = {"42P01", "42703", "42704"}  # Postgres: no such table, column or index

if TYPE_CHECKING:
    from alembic.config import Config


def upgrade(database: Database, revision: str = tables.REVISION) -> None:
    """Upgrade the schema in one transaction. Several hosts can run this at once.

    Raises SchemaError if the schema is newer than this program or lacks tables, columns or indexes.
    """
    with database.write() as connection:
        database.lock_schema(connection)
        found = _current(connection)
        _refuse_newer(found)
        if found == revision:
            return
        from alembic import command  # noqa: PLC0415 -- importing Alembic takes 0.2 s, which only migrations need

        try:
            command.upgrade(_config(connection), revision)
        except (NoSuchTableError, DBAPIError) as error:
            if not _lacks_tables(error):
                raise
            raise SchemaError(
                f"the database lacks tables of its schema {found}: it was changed by hand, or created by a development "
                f"version before {_FIRST_RELEASE}. Upgrade it to schema {found} with the version that created it, or move it "
                "away and run 'oktawatch backfill'"
            ) from error


def downgrade(database: Database, revision: str) -> None:
    """Downgrade the schema to a revision, or to ``base``, the empty database."""
    from alembic import command  # noqa: PLC0415 -- importing Alembic takes 0.2 s, which only migrations need

    with database.write() as connection:
        database.lock_schema(connection)
        command.downgrade(_config(connection), revision)


def current(database: Database) -> str | None:
    """Return the database's revision, or None without a schema."""
    with database.read() as connection:
        return _current(connection)


def require_current(database: Database) -> None:
    """Raise SchemaError with the command to run unless the schema is the version that this program needs."""
    found = current(database)
    if found == tables.REVISION:
        return
    _refuse_newer(found)
    what = (
        "has no schema yet"
        if found is None
        else f"is at schema {found}, this program needs {tables.REVISION}"
    )
    raise SchemaError(f"the database {what}: run 'oktawatch db upgrade'")


def differences(database: Database) -> list[str]:
    """Return how the tables, columns and indexes differ from those that this program needs."""
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 -- importing Alembic takes 0.2 s, which only migrations need
    from alembic.migration import MigrationContext  # noqa: PLC0415 -- importing Alembic takes 0.2 s, which only migrations need

    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return [_difference(found) for found in compare_metadata(context, tables.metadata)]


def commit_write(database: Database) -> None:
    """Commit a write that changes nothing. Raise StoreError if the database or its disk refuses it."""
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = version_num"))


def migrations() -> Path:
    """Return the folder of the revisions: in the installed package, else beside it in the repository."""
    package = Path(oktawatch.__file__).parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def _config(connection: Connection) -> "Config":
    from alembic.config import Config  # noqa: PLC0415 -- importing Alembic takes 0.2 s, which only migrations need

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    return config


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _lacks_tables(error: Exception) -> bool:
    """Return whether a migration failed because a table, column or index is missing."""
    if isinstance(error, NoSuchTableError):
        return True
    cause = getattr(error, "orig", None)
    missing = str(cause).startswith(("no such table", "no such column", "no such index"))
    return missing or getattr(cause, "sqlstate", None) in _UNDEFINED


def _difference(found: Any) -> str:
    """Describe a difference that Alembic found: an operation with its objects, or a list of changes of a column."""
    operation, *rest = found[0] if isinstance(found, list) else found
    what = ".".join(str(getattr(part, "name", part)) for part in rest[:4] if part is not None)
    return f"{operation.replace('_', ' ')} {what}"


def _refuse_newer(found: str | None) -> None:
    # Revisions are numbered: 0001, 0002, …
    if found is not None and found > tables.REVISION:
        raise NewerSchemaError(
            f"the database is at schema {found}, newer than this program's {tables.REVISION}: install a newer oktawatch"
        )
