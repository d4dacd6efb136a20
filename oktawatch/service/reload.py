"""Reload the configuration and rules on SIGHUP."""

import asyncio
from pathlib import Path
from typing import Any

import structlog

from oktawatch.config.errors import ConfigError
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.service.app import Application
from oktawatch.service.database import prepare_to_watch
from oktawatch.store.errors import StoppedError, StoreError

_log: Any = structlog.get_logger(__name__)


async def reload(app: Application, path: Path | None, database: DatabaseExecutor) -> Application:
    """Read the configuration again, from ``path`` as at the start, and return the new application.

    If the configuration is invalid, or the database can't be prepared for it, log the error and return ``app``. A start
    leaves out rules that can't be used. A reload refuses the whole configuration because of such a rule: the running
    application may still have a working version of that rule.
    """
    try:
        new = await asyncio.to_thread(_read, app, path)
        await prepare_to_watch(new, database)
    except StoppedError:
        return app
    except (ConfigError, StoreError) as error:
        _log.error("reload_refused", error=str(error))
    except Exception as error:  # noqa: BLE001 -- a broken new configuration must not end the running one
        _log.error("reload_refused", error=f"unexpected {type(error).__name__}", exc_info=error)
    else:
        return new
    return app


def _read(app: Application, path: Path | None) -> Application:
    new = Application.read(path)
    if new.database_url != app.database_url:
        raise new.database_error("wrong value", "expected the URL in use: restart to use another database")
    return new
