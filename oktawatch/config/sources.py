"""The sources of settings: a TOML file, the files in ``orgs.d``, and environment variables."""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel, SecretStr

from oktawatch.config.egress import Egress, split_no_proxy
from oktawatch.config.errors import ConfigError, Origins, format_location, models_in, suggest
from oktawatch.config.settings import Settings
from oktawatch.config.validators import LONGEST_NAME, check_proxy

FILE_NAME = "oktawatch.toml"
SYSTEM_FILE = Path("/etc/oktawatch/oktawatch.toml")
PREFIX = "OKTAWATCH__"
ENVIRONMENT = "environment"

_POSITION = re.compile(r"\(at line (\d+), column (\d+)\)$").search


def find(path: Path | None, environ: Mapping[str, str], cwd: Path) -> tuple[Path, dict[str, Any]] | None:
    """Find and parse the configuration file: ``path``, ``$OKTAWATCH_CONFIG``, or the first default file that exists.

    Returns None without any of them. Raises ConfigError if a given file doesn't exist.
    """
    given = path or (Path(environ["OKTAWATCH_CONFIG"]) if environ.get("OKTAWATCH_CONFIG") else None)
    if given is not None:
        data = read_toml(cwd / given)
        if data is None:
            raise ConfigError("no configuration file", str(cwd / given), "expected a TOML file there")
        return cwd / given, data
    for candidate in (cwd / FILE_NAME, SYSTEM_FILE):
        data = read_toml(candidate)
        if data is not None:
            return candidate, data
    return None


def read_toml(file: Path) -> dict[str, Any] | None:
    """Parse a TOML file. Returns None if it doesn't exist. Errors never quote its text."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as failed:
        problem = ConfigError("unreadable file", str(file), failed.strerror or "expected a readable file")
    except UnicodeDecodeError:
        problem = ConfigError("not valid TOML", str(file), "expected text in UTF-8")
    else:
        try:
            return tomllib.loads(text)
        except (ValueError, RecursionError) as wrong:
            problem = ConfigError("not valid TOML", f"{file}{_position(wrong, text)}", "correct the syntax")
    # Raised outside of the except block, so that the parser's error, which quotes the file, is not its context.
    raise problem


def _position(wrong: Exception, text: str) -> str:
    match = _POSITION(str(wrong))
    if match is not None:
        return f", line {match[1]}, column {match[2]}"
    if str(wrong).endswith("(at end of document)"):
        lines = text.split("\n")
        return f", line {len(lines)}, column {len(lines[-1]) + 1}"
    return ""


def add_orgs(data: dict[str, Any], folder: Path, origins: Origins) -> None:
    """Add the ``[[orgs]]`` of each file in ``orgs.d``, in the order of the file names."""
    _record_labels(data, "orgs", origins, origins.default)
    _record_labels(data, "notifiers", origins, origins.default)
    for file in _org_files(folder / "orgs.d"):
        file_data = read_toml(file) or {}
        if unknown := sorted(file_data.keys() - {"orgs"}):
            raise ConfigError(
                "unknown key", f"{file}: {format_location((unknown[0],))}", "expected only [[orgs]] in orgs.d"
            )
        orgs = file_data.get("orgs", [])
        present = data.setdefault("orgs", [])
        if not isinstance(orgs, list):
            raise ConfigError("wrong value", f"{file}: orgs", "expected [[orgs]], a list of tables")
        if not isinstance(present, list):
            return  # the validation of the settings reports it
        _record_labels(file_data, "orgs", origins, str(file), offset=len(present))
        present.extend(orgs)


def _org_files(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 -- the same error for each kind of failure
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as failed:  # ignoring the folder would leave orgs unwatched
        expected = failed.strerror or "expected a readable folder"
        raise ConfigError("unreadable folder", str(folder), expected) from None
    # Files with a leading dot are an editor's backups.
    return [folder / name for name in names if name.endswith(".toml") and not name.startswith(".")]


def _record_labels(
    data: dict[str, Any], key: str, origins: Origins, source: str, *, offset: int = 0, label_prefix: str = ""
) -> None:
    """Record a label for each entry of a list: its name if it is unique, otherwise its number."""
    tables = data.get(key)
    if not isinstance(tables, list):
        return
    names = [table.get("name") if isinstance(table, dict) else None for table in tables]
    for index, name in enumerate(names):
        usable = isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()
        label = name if usable and names.count(name) == 1 else f"#{index + 1}"
        origins.record((key, index + offset), source, f"{label_prefix or key}[{label}]")


def from_environment(environ: Mapping[str, str], origins: Origins) -> dict[str, Any]:
    """Parse the ``OKTAWATCH__SECTION__KEY`` variables. Lists, including lists of tables, are JSON."""
    data: dict[str, Any] = {}
    for name in sorted(key for key in environ if key.startswith(PREFIX)):
        location = tuple(name.removeprefix(PREFIX).lower().split("__"))
        if location[0] == "rules":
            raise ConfigError(
                "not a variable",
                f"{ENVIRONMENT}: {name}",
                "expected in a file, because rule ids contain dots and are case-sensitive",
            )
        annotation = _annotation(location, name)
        value: Any = environ[name]
        if get_origin(annotation) is tuple or annotation in (bool, int, float):
            value = _from_json(value, name, annotation)
        origins.record(location, ENVIRONMENT, name)
        *sections, key = location
        table = data.setdefault(sections[0], {}) if sections else data
        table[key] = value
        _record_labels(data, key, origins, ENVIRONMENT, label_prefix=name)
    return data


def _annotation(location: tuple[str, ...], name: str) -> Any:
    sections = Settings.model_fields
    field = sections.get(location[0])
    if field is not None and len(location) == 1 and get_origin(field.annotation) is tuple and name.isupper():
        return field.annotation
    known = _keys(field.annotation) if field is not None else {}
    if len(location) == 2 and location[1] in known and name.isupper():  # noqa: PLR2004 -- section and key
        return known[location[1]]
    known_variables = [f"{PREFIX}{'__'.join(path).upper()}" for path in _all_variables()]
    raise ConfigError("unknown variable", f"{ENVIRONMENT}: {name}", suggest(name, known_variables))


def _keys(section: Any) -> dict[str, Any]:
    if isinstance(section, type) and issubclass(section, BaseModel):
        return {key: field.annotation for key, field in section.model_fields.items()}
    return {}


def _all_variables() -> Iterator[tuple[str, ...]]:
    for section, field in Settings.model_fields.items():
        if get_origin(field.annotation) is tuple:
            yield (section,)
        yield from ((section, key) for key in _keys(field.annotation))


def _from_json(text: str, name: str, annotation: Any) -> Any:
    try:
        value = json.loads(text.lower() if annotation is bool else text)
    except (ValueError, RecursionError):
        value = None
    expected_type = list if get_origin(annotation) is tuple else (int, float)
    if isinstance(value, expected_type):
        return value
    expected = {bool: "true or false", int: "a whole number", float: "a number"}
    if annotation in expected:
        raise ConfigError("wrong value", f"{ENVIRONMENT}: {name}", f"expected {expected[annotation]}")
    example = '[{"name": "acme"}]' if any(models_in(annotation)) else '["one", "two"]'
    raise ConfigError("wrong value", f"{ENVIRONMENT}: {name}", f"expected a list in JSON such as {example}")


def egress(environ: Mapping[str, str]) -> Egress:
    """Read ``HTTPS_PROXY`` and ``NO_PROXY``. The lower-case names take precedence, as in curl."""
    name = next((name for name in ("https_proxy", "HTTPS_PROXY") if environ.get(name)), None)
    proxy = None
    if name is not None:
        value = environ[name].strip()
        proxy = SecretStr(value if "://" in value else f"http://{value}")
        try:
            check_proxy(proxy)
        except ValueError as wrong:
            raise ConfigError("wrong value", f"{ENVIRONMENT}: {name}", str(wrong)) from None
    return Egress(proxy, split_no_proxy(environ.get("no_proxy") or environ.get("NO_PROXY") or ""))


_SDK_SSWS = {"url": "OKTA_CLIENT_ORGURL", "token": "OKTA_CLIENT_TOKEN"}
_SDK_OAUTH = {
    "url": "OKTA_CLIENT_ORGURL",
    "client_id": "OKTA_CLIENT_CLIENTID",
    "private_key": "OKTA_CLIENT_PRIVATEKEY",
}


def from_sdk_variables(environ: Mapping[str, str], origins: Origins) -> dict[str, Any]:
    """Return a configuration with the org that the SDK's variables describe, or an empty one."""
    if not environ.get("OKTA_CLIENT_ORGURL"):
        return {}
    mode = environ.get("OKTA_CLIENT_AUTHORIZATIONMODE", "") or "SSWS"
    if mode.lower() not in ("ssws", "privatekey"):
        raise ConfigError(
            "wrong value", f"{ENVIRONMENT}: OKTA_CLIENT_AUTHORIZATIONMODE", "expected SSWS or PrivateKey"
        )
    variables = _SDK_SSWS if mode.lower() == "ssws" else _SDK_OAUTH
    org: dict[str, Any] = {}
    for key, variable in variables.items():
        if not environ.get(variable):
            raise ConfigError(
                "missing variable",
                f"{ENVIRONMENT}: {variable}",
                f"expected together with OKTA_CLIENT_ORGURL in mode {mode}",
            )
        org[key] = environ[variable]
        origins.record(("orgs", 0, key), ENVIRONMENT, variable)
    key = org.get("private_key", "")
    if key and not key.lstrip().startswith(("-----BEGIN ", "{")):
        # Like the SDK, accept the name of a file instead of a key.
        org["private_key_file"] = org.pop("private_key")
        origins.record(("orgs", 0, "private_key_file"), ENVIRONMENT, variables["private_key"])
    if variables is _SDK_OAUTH and environ.get("OKTA_CLIENT_SCOPES"):
        org["scopes"] = re.split(r"[\s,]+", environ["OKTA_CLIENT_SCOPES"].strip())
        origins.record(("orgs", 0, "scopes"), ENVIRONMENT, "OKTA_CLIENT_SCOPES")
    return {"orgs": [org]}
