"""Secrets and paths: read and made absolute before anything else looks at the tables.

From here on a secret is a SecretStr, whatever becomes of the table it stands in. Each secret key ``x``
has a twin ``x_file``; both together are refused, since nobody could say which one counts.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from pydantic import BaseModel, SecretStr

from oktawatch.config.channels import load_channel
from oktawatch.config.errors import ConfigError, Origins, Place

TWINS: dict[str, tuple[str, ...]] = {
    "database": ("url",),
    "poll": ("proxy",),
    "orgs": ("token", "private_key"),
    "notifiers": ("url", "secret"),
    "silence": ("heartbeat_url",),
}
"""Every secret key, by section; a notifier's channel can bring more."""

PATHS: dict[str, tuple[str, ...]] = {"poll": ("ca_file",), "detection": ("rules_dir",)}
"""Every other key that names a file or folder."""

MANY_LINES = frozenset({"private_key"})
"""Secrets that consist of several lines."""

_LARGEST = 65_536  # bytes; a secret is small, and a path can name a device that never ends
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Folders:
    """Where relative paths lead."""

    base: Path
    """The configuration file's folder; with no file the working directory."""
    credentials: Path | None
    """systemd's folder for ``LoadCredential=``, looked into first for secrets."""

    def secret(self, name: str) -> Path:
        """Find a secret's file."""
        if self.credentials is not None and (self.credentials / name).exists():
            return self.credentials / name
        return self.base / name


def read_secret(path: Path, *, many_lines: bool = False) -> SecretStr:
    """Read a secret's file; raise ValueError with what is expected when that gives no secret."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as failed:
        raise ValueError(f"expected a readable file at {path}: {failed.strerror}") from None
    if len(content) > _LARGEST:
        raise ValueError(f"expected a secret in {path}, and found more than {_LARGEST} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    try:
        return _checked(text, many_lines=many_lines)
    except ValueError as wrong:
        raise ValueError(f"{wrong}, in {path}") from None


def _checked(text: str, *, many_lines: bool) -> SecretStr:
    """Strip a secret; refuse what would break the header or the request that carries it."""
    secret = text.strip()
    if not secret:
        raise ValueError("expected a secret and found nothing")
    inner = "".join(secret.split()) if many_lines else secret
    if not inner.isprintable() or any(letter.isspace() for letter in inner):
        raise ValueError("expected a secret of one word, without spaces or control characters inside")
    return SecretStr(secret)


def settle(data: dict[str, Any], folders: Folders, origins: Origins, *, secrets_of: Collection[str]) -> None:
    """Replace a layer's secrets by SecretStr, make its paths absolute, read the secret files of some sections.

    What has a wrong type is left as it is: the check of the whole names it.
    """
    for section, keys in TWINS.items():
        for place, table in _tables(data, section):
            for key in _channel_secrets(table) if section == "notifiers" else keys:
                _settle_secret(table, key, folders, place=place, origins=origins, read=section in secrets_of)
    for section, keys in PATHS.items():
        for _, table in _tables(data, section):
            for key in keys:
                if isinstance(table.get(key), str) and table[key]:
                    table[key] = folders.base / table[key]
    database = data.get("database")
    if isinstance(database, dict) and isinstance(database.get("url"), SecretStr):
        database["url"] = SecretStr(absolute_sqlite(database["url"].get_secret_value(), folders.base))


def _channel_secrets(table: dict[str, Any]) -> Collection[str]:
    """Return the secret keys of a notifier, by the model that its channel brings."""
    with suppress(ValueError):  # the check of the whole says what is wrong
        model = getattr(load_channel(str(table.get("type"))), "Settings", None)
        if isinstance(model, type) and issubclass(model, BaseModel):
            return secret_keys(model)
    return TWINS["notifiers"]


def secret_keys(model: type[BaseModel]) -> list[str]:
    """Return the keys of a model that have a twin ``x_file``."""
    return [key for key in model.model_fields if f"{key}_file" in model.model_fields]


def _tables(data: dict[str, Any], section: str) -> Iterator[tuple[Place, dict[str, Any]]]:
    value = data.get(section)
    if isinstance(value, dict):
        yield (section,), value
    elif isinstance(value, list):
        yield from (((section, index), table) for index, table in enumerate(value) if isinstance(table, dict))


def _settle_secret(
    table: dict[str, Any], key: str, folders: Folders, *, place: Place, origins: Origins, read: bool
) -> None:
    twin = f"{key}_file"
    value, name = table.get(key), table.get(twin)
    if value and name:
        where = origins.where((*place, key))
        raise ConfigError("two secrets for one", where, f"expected {key} or {twin}, not both")
    used = twin if name else key
    if not isinstance(table.get(used), str) or not table[used]:
        return
    try:
        if name:
            table[twin] = folders.secret(name)
            if read:
                origins.call((*place, key), (*place, twin))
                table[key] = read_secret(table[twin], many_lines=key in MANY_LINES)
        else:
            table[key] = _checked(table[key], many_lines=key in MANY_LINES)
    except ValueError as wrong:
        raise ConfigError("no secret", origins.where((*place, used)), str(wrong)) from None


def absolute_sqlite(url: str, base: Path) -> str:
    """Make the path in an SQLite URL absolute; SQLAlchemy decodes %XX there, so a folder is encoded."""
    name = url.removeprefix(_SQLITE)
    if name == url or not name or name.startswith(("/", ":", "file:")) or "?" in name:
        return url
    return _SQLITE + quote(os.fsencode(base / unquote(name)))
