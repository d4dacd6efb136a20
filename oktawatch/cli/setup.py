"""Set up a command: read the settings, start logging, open the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oktawatch.config import Settings
    from oktawatch.store.database import Database


def load_settings(path: Path | None, *, debug: bool) -> "Settings":
    """Read the settings and configure logging. Raises ConfigError."""
    from oktawatch import config

    return _with_logging(config.load(path), debug=debug)


def load_for_downloads(path: Path | None, *, debug: bool) -> "Settings":
    """Read the settings with only the secrets that downloads need, and configure logging. Raises ConfigError."""
    from oktawatch import config

    secrets_of = ("database", "poll", "evidence.sources")
    return _with_logging(config.load(path, secrets_of=secrets_of), debug=debug)


def load_without_secrets(path: Path | None, *, debug: bool) -> "Settings":
    """Read the settings with no secret but the database's, and configure logging. Raises ConfigError.

    So the user needs no permission to read the orgs' tokens.
    """
    from oktawatch import config

    return _with_logging(config.load(path, secrets_of=("database",)), debug=debug)


def load_for_explaining(path: Path | None, *, debug: bool) -> "Settings":
    """Read the settings without the orgs' secrets, and configure logging. Raises ConfigError.

    `service.explaining` reads each org's secret separately. If the file with the proxy's URL can't be read, stored data is
    used for all orgs.
    """
    from oktawatch import config

    try:
        settings = config.load(path, secrets_of=("database", "poll"))
    except config.ConfigError:
        return load_without_secrets(path, debug=debug)
    return _with_logging(settings, debug=debug)


def load_for_reading(path: Path | None, *, debug: bool) -> "Settings":
    """Read the settings like `load_without_secrets`, for a command that only reads rows and must start fast.

    Logging is configured only for libraries. Call `start_logging` before oktawatch's own code can log.
    """
    from oktawatch import config, logs

    settings = _mask_secrets_in_logs(config.load(path, secrets_of=("database",)))
    logs.configure_libraries(settings.service.log_format, _level(settings, debug=debug))
    return settings


def _with_logging(settings: "Settings", *, debug: bool) -> "Settings":
    start_logging(_mask_secrets_in_logs(settings), debug=debug)
    return settings


def _mask_secrets_in_logs(settings: "Settings") -> "Settings":
    from oktawatch import logs

    for secret in settings.secrets():
        logs.hide(secret)
    return settings


def start_logging(settings: "Settings", *, debug: bool) -> None:
    """Log to the current ``sys.stderr``.

    A backfill's progress bars replace ``sys.stderr`` while they are shown. Call this again when they start and end.
    """
    from oktawatch import logs

    logs.configure(settings.service.log_format, _level(settings, debug=debug))


def _level(settings: "Settings", *, debug: bool) -> str:
    return "debug" if debug else settings.service.log_level


@contextmanager
def existing_database(settings: "Settings") -> "Iterator[Database]":
    """Open an existing database without migrating it.

    Raises StoreError with the command to run if the database is missing or has another schema.
    """
    from oktawatch.store.schema import require_current

    with database_of_any_schema(settings) as database:
        require_current(database)
        yield database


@contextmanager
def database_of_any_schema(settings: "Settings") -> "Iterator[Database]":
    """Open an existing database without checking its schema. Raises StoreError if an SQLite file is missing."""
    from oktawatch.store.database import Database

    database = Database(settings.database.url.get_secret_value())
    try:
        yield database
    finally:
        database.close()
