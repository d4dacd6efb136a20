"""Read configuration and rules again on SIGHUP."""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from oktawatch.config.errors import ConfigError
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.service.app import Application
from oktawatch.service.database import prepare_to_watch
from oktawatch.store.errors import StoppedError, StoreError

_log: Any = structlog.get_logger(__name__)

Load = Callable[[], Application]
"""Reads the configuration and builds an application from it, strictly. Raises ConfigError."""


async def reload(app: Application, load: Load, database: DatabaseExecutor) -> Application:
    """Return a new application, or ``app`` if anything is wrong with the new configuration, which is logged.

    A rule that can't be used is left out at a start and refused here: the running application has that rule
    as it was when it could be used.
    """
    try:
        new = await asyncio.to_thread(_load, app, load)
        warn_without_effect(new)
        await prepare_to_watch(new, database)
    except StoppedError:
        return app
    except (ConfigError, StoreError) as error:
        _log.error("reload_refused", error=str(error))
    except Exception as error:  # noqa: BLE001 -- a configuration that works must not end by one that doesn't
        _log.error("reload_refused", error=f"unexpected {type(error).__name__}", exc_info=error)
    else:
        return new
    return app


def warn_without_effect(app: Application) -> None:
    """Log the settings that have no effect."""
    for setting in app.settings_without_effect:
        _log.warning("setting_without_effect", setting=setting)


def _load(app: Application, load: Load) -> Application:
    new = load()
    if new.database_url != app.database_url:
        raise new.database_error("wrong value", "expected the one in use: another one takes a restart")
    return new
