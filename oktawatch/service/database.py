"""Open the configured database, and upgrade its schema."""

from collections.abc import Iterator
from contextlib import contextmanager

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.newly_enabled_rules import log_newly_enabled_rules
from oktawatch.service.app import Application
from oktawatch.service.file_lock import exclusive_lock
from oktawatch.store.database import Database
from oktawatch.store.errors import SchemaError, StoreError
from oktawatch.store.orgs import register_orgs
from oktawatch.store.schema import require_current, upgrade

_CHECK_WITHIN_S = 2.0
"""Time limit for checking the database's file, in seconds."""


def open_database(app: Application, *, create: bool = True) -> DatabaseExecutor:
    """Open the database without connecting. The caller closes it.

    Raises ConfigError if the URL or the installed SQLite is unusable or, without ``create``, the file is
    missing.
    """
    try:
        return DatabaseExecutor(app.database_url.get_secret_value(), create=create)
    except StoreError as error:
        problem = str(error)
    # Raised outside of the handler, so that no secret is in the context of the error.
    raise app.database_error("no usable database", problem)


@contextmanager
def locked_database(app: Application) -> Iterator[DatabaseExecutor]:
    """Open the database for `run`. For an SQLite file, hold an exclusive lock on a separate file beside it.

    Raises ConfigError if another `run` or `db copy` holds the lock, or as `open_database` does.
    """
    database = open_database(app)
    try:
        with exclusive_lock(database.database.file):
            yield database
    finally:
        database.close()


async def prepare_database(app: Application, database: DatabaseExecutor) -> None:
    """Check the database's file, upgrade the schema, read the clock, and insert a row for each org that has none.

    A Postgres database is upgraded only with `database.auto_upgrade`. Raises ConfigError if the schema is not the version
    that this program needs, and StoreError for other failures.
    """
    upgrades = app.auto_upgrade or not database.database.shared
    try:
        await database.run(Database.require_undamaged, within_s=_CHECK_WITHIN_S)
        await database.run(upgrade if upgrades else require_current)
        await database.read_clock()
        await database.run(register_orgs, list(app.org_tags), now=database.now())
    except SchemaError as error:
        raise app.database_error("wrong schema", str(error)) from None


async def prepare_to_watch(app: Application, database: DatabaseExecutor) -> None:
    """Prepare the database, and log newly enabled rules. Raises as `prepare_database` does."""
    await prepare_database(app, database)
    await log_newly_enabled_rules(
        database, list(app.org_tags), app.rules, initial_lookback=app.initial_lookback
    )
