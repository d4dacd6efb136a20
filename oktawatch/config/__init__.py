"""Load and validate the configuration.

`load` returns `Settings`, or raises ConfigError with a message of one line. Environment variables override the file,
and the file overrides the defaults. Without a file and without ``OKTAWATCH__ORGS``, the Okta SDK's variables configure a
single org.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from oktawatch.config import sources
from oktawatch.config.errors import ConfigError, MissingConfigError, Origins, describe_error
from oktawatch.config.notifiers import NotifierSettings
from oktawatch.config.secrets import SECRET_KEYS, Folders, read_secret, resolve_secrets
from oktawatch.config.settings import (
    DatabaseSettings,
    DetectionSettings,
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
    secrets_of: Collection[str] = tuple(SECRET_KEYS),
) -> Settings:
    """Load the settings from the environment and from the file that `sources.find` finds.

    ``secrets_of`` lists the sections whose secret files are read. Secret files of other sections need not be readable.
    Raises ConfigError, or MissingConfigError without a configuration.
    """
    here = Path.cwd() if cwd is None else cwd.absolute()
    found = sources.find(path, environ, here)
    source = found[0] if found else None
    origins = Origins(str(source) if source else sources.ENVIRONMENT)
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    folders = Folders(source.parent if source else here, Path(credentials) if credentials else None)

    file_layer = found[1] if found else {}
    if source:
        sources.add_orgs(file_layer, folders.base, origins)
    variables = sources.from_environment(environ, origins)
    egress = sources.egress(environ)
    _drop_overridden(file_layer, variables)
    if not source and "orgs" not in variables:
        file_layer = sources.from_sdk_variables(environ, origins) or _raise_missing(here)
    _add_default_database(file_layer)
    resolve_secrets(file_layer, folders, origins, secrets_of=secrets_of)
    resolve_secrets(variables, folders, origins, secrets_of=secrets_of)
    try:
        return Settings(
            variables, file_layer, origins=origins, source=source, folder=folders.base, egress=egress
        )
    except ValidationError as invalid:
        problem = describe_error(invalid, Settings, origins)
    # Raised outside of the except block, so that pydantic's error, which quotes values, is not its context.
    raise problem


def _drop_overridden(file_layer: dict[str, Any], variables: dict[str, Any]) -> None:
    """Remove the file's values that variables override: whole lists, and keys in both forms, ``x`` and ``x_file``.

    So the overridden file of a secret is not read, and can be missing.
    """
    for section, value in variables.items():
        table = file_layer.get(section)
        if isinstance(value, list):
            file_layer.pop(section, None)
        elif isinstance(table, dict):
            for key in value:
                name = key.removesuffix("_file")
                table.pop(name, None)
                table.pop(f"{name}_file", None)


def _add_default_database(data: dict[str, Any]) -> None:
    """Set the default URL explicitly, so that its path is made absolute like a configured one."""
    database = data.setdefault("database", {})
    if isinstance(database, dict) and not (database.get("url") or database.get("url_file")):
        database["url"] = DatabaseSettings().url.get_secret_value()


def _raise_missing(here: Path) -> dict[str, Any]:
    raise MissingConfigError(
        "no configuration",
        f"looked at --config, $OKTAWATCH_CONFIG, {here / sources.FILE_NAME}, {sources.SYSTEM_FILE}, $OKTA_CLIENT_ORGURL",
        "run 'oktawatch init', or set OKTA_CLIENT_ORGURL and OKTA_CLIENT_TOKEN",
    )
