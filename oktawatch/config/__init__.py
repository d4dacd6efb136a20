"""Settings: what an operator may say, and what is wrong with what was said.

`load` finds the configuration and gives `Settings`, or raises ConfigError, whose text is one line for
people. The order: variables over the file, and the file over the defaults; without a file one org comes
from the SDK's variables.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from oktawatch.config import sources
from oktawatch.config.errors import ConfigError, Origins, explain
from oktawatch.config.secrets import TWINS, Folders, read_secret, settle
from oktawatch.config.settings import (
    DatabaseSettings,
    DetectionSettings,
    NotifierSettings,
    OrgSettings,
    PollSettings,
    RetentionSettings,
    RuleSettings,
    ServiceSettings,
    Settings,
    SilenceSettings,
)

__all__ = [
    "ConfigError",
    "DatabaseSettings",
    "DetectionSettings",
    "NotifierSettings",
    "OrgSettings",
    "PollSettings",
    "RetentionSettings",
    "RuleSettings",
    "ServiceSettings",
    "Settings",
    "SilenceSettings",
    "load",
    "read_secret",
]


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
    secrets_of: Collection[str] = tuple(TWINS),
) -> Settings:
    """Read the settings from where they are: ``path``, ``$OKTAWATCH_CONFIG``, ``./``, ``/etc/oktawatch/``.

    ``secrets_of``: the sections whose secret files are read. Those of others only have to be named.
    Raises ConfigError with file, key and what is expected.
    """
    here = Path.cwd() if cwd is None else cwd.absolute()
    found = sources.find(path, environ, here)
    source = found[0] if found else None
    origins = Origins(str(source) if source else sources.ENVIRONMENT)
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    folders = Folders(source.parent if source else here, Path(credentials) if credentials else None)

    below = found[1] if found else {}
    if source:
        sources.add_orgs(below, folders.base, origins)
    above = sources.from_environment(environ, origins)
    egress = sources.egress(environ)
    _drop_replaced(below, above)
    if not source and "orgs" not in above:
        below = sources.from_sdk_variables(environ, origins) or _nothing_found(here)
    _add_default_database(below)
    settle(below, folders, origins, secrets_of=secrets_of)
    settle(above, folders, origins, secrets_of=secrets_of)
    try:
        return Settings(above, below, origins=origins, source=source, folder=folders.base, egress=egress)
    except ValidationError as invalid:
        problem = explain(invalid, Settings, origins)
    # Raised here, so that pydantic's error with the values in it is not even the context of ours.
    raise problem


def _drop_replaced(below: dict[str, Any], above: dict[str, Any]) -> None:
    """Take out what variables replace: a list as a whole, a secret with its twin.

    What does not count is not read either, and a file that it names may be missing.
    """
    for section, value in above.items():
        table = below.get(section)
        if isinstance(value, list):
            below.pop(section, None)
        elif isinstance(table, dict):
            for key in value:
                name = key.removesuffix("_file")
                table.pop(name, None)
                table.pop(f"{name}_file", None)


def _add_default_database(data: dict[str, Any]) -> None:
    """Say the default aloud, so that its path becomes absolute like any other."""
    database = data.setdefault("database", {})
    if isinstance(database, dict) and not (database.get("url") or database.get("url_file")):
        database["url"] = DatabaseSettings().url.get_secret_value()


def _nothing_found(here: Path) -> dict[str, Any]:
    raise ConfigError(
        "no configuration",
        f"looked at --config, $OKTAWATCH_CONFIG, {here / sources.FILE_NAME}, {sources.SYSTEM_FILE}, $OKTA_CLIENT_ORGURL",
        f"start from {sources.EXAMPLE}, or set OKTA_CLIENT_ORGURL and OKTA_CLIENT_TOKEN",
    )
