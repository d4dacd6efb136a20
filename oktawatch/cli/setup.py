"""What most commands begin with: settings, logging, a database."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oktawatch.config import Settings
    from oktawatch.store.database import Database


def load_settings(path: Path | None, *, debug: bool) -> "Settings":
    """Read the settings and begin to log as they say; raise ConfigError."""
    from oktawatch import config

    return _begun(config.load(path), debug=debug)


def read_settings(path: Path | None) -> "Settings":
    """Read the settings and go on logging as before; raise ConfigError."""
    from oktawatch import config

    return _hidden(config.load(path))


def load_without_secrets(path: Path | None, *, debug: bool) -> "Settings":
    """Do the same for a command that asks the database alone.

    Whoever looks at alerts, and decides about them, need not be able to read the orgs' tokens for it.
    """
    from oktawatch import config

    return _begun(config.load(path, secrets_of=("database",)), debug=debug)


def _begun(settings: "Settings", *, debug: bool) -> "Settings":
    start_logging(_hidden(settings), debug=debug)
    return settings


def _hidden(settings: "Settings") -> "Settings":
    from oktawatch import logs

    for secret in settings.secrets():
        logs.hide(secret)
    return settings


def start_logging(settings: "Settings", *, debug: bool) -> None:
    """Log to what is standard error now: a progress bar stands in for it while it is drawn."""
    from oktawatch import logs

    logs.configure(settings.service.log_format, "debug" if debug else settings.service.log_level)


@contextmanager
def existing_database(settings: "Settings") -> "Iterator[Database]":
    """Open the database to look into it: it is neither made nor migrated.

    Raises StoreError that says what to run when it isn't there or has another schema.
    """
    from oktawatch.store.database import Database
    from oktawatch.store.schema import require_current

    database = Database(settings.database.url.get_secret_value())
    try:
        require_current(database)
        yield database
    finally:
        database.close()
