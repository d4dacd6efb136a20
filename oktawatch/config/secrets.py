"""Resolve secrets and paths before the configuration is validated.

Secrets become SecretStr, so that no later error can show them. For each secret key ``x`` there is a key ``x_file``.
Setting both is an error, because neither takes precedence.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

from pydantic import BaseModel, SecretStr

from oktawatch.config.channels import load_channel
from oktawatch.config.errors import ConfigError, Location, Origins

SECRET_KEYS: dict[str, tuple[str, ...]] = {
    "database": ("url",),
    "poll": ("proxy",),
    "orgs": ("token", "private_key"),
    "notifiers": ("url", "secret"),
    "silence": ("heartbeat_url",),
    "evidence.sources": ("url",),
}
"""The secret keys by section. A dot separates a section from a list in it. A channel can define further secret keys."""

PATHS: dict[str, tuple[str, ...]] = {"poll": ("ca_file",), "detection": ("rules_dir",)}
"""Other keys with the path of a file or folder, by section, except those of notifiers, rules and evidence."""

MULTILINE = frozenset({"private_key"})
"""Secrets with several lines."""

_MAX_BYTES = 65_536  # the path can be that of an endless device
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Folders:
    """The folders to which relative paths refer."""

    base: Path
    """The folder of the configuration file, or the working directory without a file."""
    credentials: Path | None
    """systemd's folder for ``LoadCredential=``. A secret file is looked up here first."""

    def secret(self, name: str) -> Path:
        """Return the path of a secret file."""
        if self.credentials is not None and (self.credentials / name).exists():
            return self.credentials / name
        return self.base / name


def read_secret(path: Path, *, multiline: bool = False) -> SecretStr:
    """Read a secret from a file. Raises ValueError, which says what is expected."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as failed:
        raise ValueError(f"expected a readable file at {path}: {failed.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise ValueError(f"expected a secret in {path}, not more than {_MAX_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    try:
        return parse_secret(text, multiline=multiline)
    except ValueError as wrong:
        raise ValueError(f"{wrong}, in {path}") from None


def parse_secret(text: str, *, multiline: bool = False) -> SecretStr:
    """Parse the text of a secret. Raises ValueError for an empty text, control characters, and spaces unless ``multiline``."""
    secret = text.strip()
    if not secret:
        raise ValueError("expected a secret, not an empty value")
    inner = "".join(secret.split()) if multiline else secret
    if not inner.isprintable() or any(letter.isspace() for letter in inner):
        raise ValueError("expected a secret without spaces or control characters inside")
    return SecretStr(secret)


def resolve_secrets(
    data: dict[str, Any], folders: Folders, origins: Origins, *, secrets_of: Collection[str]
) -> None:
    """Convert secrets to SecretStr, make paths absolute, and read the secret files of the sections ``secrets_of``.

    Values of a wrong type stay unchanged. The validation of the settings reports them.
    """
    for section, keys in SECRET_KEYS.items():
        for location, table in _tables(data, section):
            for key in _channel_secrets(table) if section == "notifiers" else keys:
                _resolve_secret(
                    table, key, folders, location=location, origins=origins, read=section in secrets_of
                )
    for section, keys in PATHS.items():
        for _, table in _tables(data, section):
            for key in keys:
                _resolve_path(table, key, folders)
    for _, table in _tables(data, "notifiers"):
        for key in _channel_paths(table):
            _resolve_path(table, key, folders)
    database = data.get("database")
    if isinstance(database, dict) and isinstance(database.get("url"), SecretStr):
        database["url"] = SecretStr(absolute_sqlite(database["url"].get_secret_value(), folders.base))


def _channel_secrets(table: dict[str, Any]) -> Collection[str]:
    """Return the secret keys of a notifier, as its channel's model defines them."""
    model = _channel_model(table)
    return SECRET_KEYS["notifiers"] if model is None else secret_keys(model)


def _channel_paths(table: dict[str, Any]) -> Collection[str]:
    """Return the keys of a notifier that its channel's model declares as `File`, except the files of secrets."""
    model = _channel_model(table)
    if model is None:
        return ()
    secret_files = {f"{key}_file" for key in secret_keys(model)}
    return [
        key
        for key, field in model.model_fields.items()
        if field.annotation == Path | None and key not in secret_files
    ]


def _channel_model(table: dict[str, Any]) -> type[BaseModel] | None:
    """Return the model of a notifier's keys, or None if its channel is unknown or has none."""
    with suppress(ValueError):  # the validation of the settings reports an unknown channel
        model = getattr(load_channel(str(table.get("type"))), "Settings", None)
        if isinstance(model, type) and issubclass(model, BaseModel):
            return model
    return None


def _resolve_path(table: dict[str, Any], key: str, folders: Folders) -> None:
    if isinstance(table.get(key), str) and table[key]:
        table[key] = folders.base / table[key]


def secret_keys(model: type[BaseModel]) -> list[str]:
    """Return the keys ``x`` of a model that also has a key ``x_file``."""
    return [key for key in model.model_fields if f"{key}_file" in model.model_fields]


def _tables(data: dict[str, Any], section: str) -> Iterator[tuple[Location, dict[str, Any]]]:
    """Yield the tables of a section with their locations: a single table, or the entries of a list of tables."""
    location: Location = tuple(section.split("."))
    value: Any = data
    for key in location:
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, dict):
        yield location, value
    elif isinstance(value, list):
        yield from (
            ((*location, index), table) for index, table in enumerate(value) if isinstance(table, dict)
        )


def _resolve_secret(
    table: dict[str, Any], key: str, folders: Folders, *, location: Location, origins: Origins, read: bool
) -> None:
    file_key = f"{key}_file"
    value, name = table.get(key), table.get(file_key)
    if value and name:
        where = origins.where((*location, key))
        raise ConfigError("conflicting keys", where, f"expected {key} or {file_key}, not both")
    used_key = file_key if name else key
    if not isinstance(table.get(used_key), str) or not table[used_key]:
        return
    try:
        if name:
            table[file_key] = folders.secret(name)
            if read:
                origins.alias((*location, key), (*location, file_key))
                table[key] = read_secret(table[file_key], multiline=key in MULTILINE)
        else:
            table[key] = parse_secret(table[key], multiline=key in MULTILINE)
    except ValueError as wrong:
        raise ConfigError("no secret", origins.where((*location, used_key)), str(wrong)) from None


def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite URL. None for a server's URL."""
    name = url.removeprefix(_SQLITE)
    return None if name == url else Path(os.fsdecode(unquote_to_bytes(name)))


def absolute_sqlite(url: str, base: Path) -> str:
    """Make the path in an SQLite URL absolute, percent-encoded because SQLAlchemy decodes it."""
    name = url.removeprefix(_SQLITE)
    if name == url or not name or name.startswith(("/", ":", "file:")) or "?" in name:
        return url
    return _SQLITE + quote(os.fsencode(base / unquote(name)))
