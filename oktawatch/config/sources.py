"""Where settings come from: a TOML file with ``orgs.d`` beside it, variables, or the SDK's variables."""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel, SecretStr

from oktawatch.config.egress import Egress, entries
from oktawatch.config.errors import ConfigError, Origins, models_in, spell, suggest
from oktawatch.config.settings import Settings
from oktawatch.config.validators import LONGEST_NAME, check_proxy

FILE_NAME = "oktawatch.toml"
SYSTEM_FILE = Path("/etc/oktawatch/oktawatch.toml")
EXAMPLE = "config/oktawatch.example.toml"
PREFIX = "OKTAWATCH__"
ENVIRONMENT = "environment"

_POSITION = re.compile(r"\(at line (\d+), column (\d+)\)$").search


def find(path: Path | None, environ: Mapping[str, str], cwd: Path) -> tuple[Path, dict[str, Any]] | None:
    """Find and read the configuration file; None when nobody named one and there is none.

    A file that was named has to be there. The others are looked for in turn.
    """
    named = path or (Path(environ["OKTAWATCH_CONFIG"]) if environ.get("OKTAWATCH_CONFIG") else None)
    if named is not None:
        data = read_toml(cwd / named)
        if data is None:
            raise ConfigError("no configuration file", str(cwd / named), "expected a TOML file there")
        return cwd / named, data
    for candidate in (cwd / FILE_NAME, SYSTEM_FILE):
        data = read_toml(candidate)
        if data is not None:
            return candidate, data
    return None


def read_toml(file: Path) -> dict[str, Any] | None:
    """Read a TOML file; None when it does not exist. No word of its content gets into an error."""
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
            problem = ConfigError(
                "not valid TOML", f"{file}{_position(wrong, text)}", "mend what stands there"
            )
    # Raised here, so that the parser's error with what it quotes is not even the context of ours.
    raise problem


def _position(wrong: Exception, text: str) -> str:
    found = _POSITION(str(wrong))
    if found is not None:
        return f", line {found[1]}, column {found[2]}"
    if str(wrong).endswith("(at end of document)"):
        lines = text.split("\n")
        return f", line {len(lines)}, column {len(lines[-1]) + 1}"
    return ""


def add_orgs(data: dict[str, Any], folder: Path, origins: Origins) -> None:
    """Add the ``[[orgs]]`` of each file in ``orgs.d``, in the order of their names."""
    _note_names(data, "orgs", origins, origins.default)
    _note_names(data, "notifiers", origins, origins.default)
    for file in _org_files(folder / "orgs.d"):
        more = read_toml(file) or {}
        if unknown := sorted(more.keys() - {"orgs"}):
            raise ConfigError(
                "unknown key", f"{file}: {spell((unknown[0],))}", "expected only [[orgs]] in orgs.d"
            )
        orgs = more.get("orgs", [])
        present = data.setdefault("orgs", [])
        if not isinstance(orgs, list):
            raise ConfigError("wrong value", f"{file}: orgs", "expected [[orgs]], a list of tables")
        if not isinstance(present, list):
            return  # the check of the whole says so
        _note_names(more, "orgs", origins, str(file), after=len(present))
        present.extend(orgs)


def _org_files(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 -- the same error for each kind of failure
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as failed:  # passed over in silence, it would leave orgs unwatched
        expected = failed.strerror or "expected a readable folder"
        raise ConfigError("unreadable folder", str(folder), expected) from None
    # A leading dot marks what an editor left behind.
    return [folder / name for name in names if name.endswith(".toml") and not name.startswith(".")]


def _note_names(
    data: dict[str, Any], key: str, origins: Origins, source: str, *, after: int = 0, spelled: str = ""
) -> None:
    """Let errors call a list's entries by their names, and where there is none by their number."""
    tables = data.get(key)
    if not isinstance(tables, list):
        return
    names = [table.get("name") if isinstance(table, dict) else None for table in tables]
    for index, name in enumerate(names):
        usable = isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()
        label = name if usable and names.count(name) == 1 else f"#{index + 1}"
        origins.note((key, index + after), source, f"{spelled or key}[{label}]")


def from_environment(environ: Mapping[str, str], origins: Origins) -> dict[str, Any]:
    """Read the ``OKTAWATCH__SECTION__KEY`` variables; lists are JSON, and so are whole lists of tables."""
    data: dict[str, Any] = {}
    for name in sorted(key for key in environ if key.startswith(PREFIX)):
        place = tuple(name.removeprefix(PREFIX).lower().split("__"))
        if place[0] == "rules":
            raise ConfigError(
                "not a variable",
                f"{ENVIRONMENT}: {name}",
                "expected in a file: rules have ids with case and dots",
            )
        annotation = _annotation(place, name)
        value: Any = environ[name]
        if get_origin(annotation) is tuple or annotation in (bool, int, float):
            value = _from_json(value, name, annotation)
        origins.note(place, ENVIRONMENT, name)
        *sections, key = place
        table = data.setdefault(sections[0], {}) if sections else data
        table[key] = value
        _note_names(data, key, origins, ENVIRONMENT, spelled=name)
    return data


def _annotation(place: tuple[str, ...], name: str) -> Any:
    sections = Settings.model_fields
    field = sections.get(place[0])
    if field is not None and len(place) == 1 and get_origin(field.annotation) is tuple and name.isupper():
        return field.annotation
    known = _keys(field.annotation) if field is not None else {}
    if len(place) == 2 and place[1] in known and name.isupper():  # noqa: PLR2004 -- section and key
        return known[place[1]]
    every = [f"{PREFIX}{'__'.join(path).upper()}" for path in _every_variable()]
    raise ConfigError("unknown variable", f"{ENVIRONMENT}: {name}", suggest(name, every))


def _keys(section: Any) -> dict[str, Any]:
    if isinstance(section, type) and issubclass(section, BaseModel):
        return {key: field.annotation for key, field in section.model_fields.items()}
    return {}


def _every_variable() -> Iterator[tuple[str, ...]]:
    for section, field in Settings.model_fields.items():
        if get_origin(field.annotation) is tuple:
            yield (section,)
        yield from ((section, key) for key in _keys(field.annotation))


def _from_json(text: str, name: str, annotation: Any) -> Any:
    try:
        value = json.loads(text.lower() if annotation is bool else text)
    except (ValueError, RecursionError):
        value = None
    right = list if get_origin(annotation) is tuple else (int, float)
    if isinstance(value, right):
        return value
    expected = {bool: "true or false", int: "a whole number", float: "a number"}
    if annotation in expected:
        raise ConfigError("wrong value", f"{ENVIRONMENT}: {name}", f"expected {expected[annotation]}")
    what = '[{"name": "acme"}]' if any(models_in(annotation)) else '["one", "two"]'
    raise ConfigError("wrong value", f"{ENVIRONMENT}: {name}", f"expected a list in JSON such as {what}")


def egress(environ: Mapping[str, str]) -> Egress:
    """Read ``HTTPS_PROXY`` and ``NO_PROXY``, in small letters first, as everybody does."""
    name = next((name for name in ("https_proxy", "HTTPS_PROXY") if environ.get(name)), None)
    proxy = None
    if name is not None:
        written = environ[name].strip()
        proxy = SecretStr(written if "://" in written else f"http://{written}")
        try:
            check_proxy(proxy)
        except ValueError as wrong:
            raise ConfigError("wrong value", f"{ENVIRONMENT}: {name}", str(wrong)) from None
    return Egress(proxy, entries(environ.get("no_proxy") or environ.get("NO_PROXY") or ""))


_SDK_SSWS = {"url": "OKTA_CLIENT_ORGURL", "token": "OKTA_CLIENT_TOKEN"}
_SDK_OAUTH = {
    "url": "OKTA_CLIENT_ORGURL",
    "client_id": "OKTA_CLIENT_CLIENTID",
    "private_key": "OKTA_CLIENT_PRIVATEKEY",
}


def from_sdk_variables(environ: Mapping[str, str], origins: Origins) -> dict[str, Any]:
    """Make the one org that the SDK's own variables describe; nothing when they name none."""
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
                f"expected beside OKTA_CLIENT_ORGURL for {mode}",
            )
        org[key] = environ[variable]
        origins.note(("orgs", 0, key), ENVIRONMENT, variable)
    key = org.get("private_key", "")
    if key and not key.lstrip().startswith(("-----BEGIN ", "{")):
        # The SDK takes the name of a file here, too.
        org["private_key_file"] = org.pop("private_key")
        origins.note(("orgs", 0, "private_key_file"), ENVIRONMENT, variables["private_key"])
    if variables is _SDK_OAUTH and environ.get("OKTA_CLIENT_SCOPES"):
        org["scopes"] = re.split(r"[\s,]+", environ["OKTA_CLIENT_SCOPES"].strip())
        origins.note(("orgs", 0, "scopes"), ENVIRONMENT, "OKTA_CLIENT_SCOPES")
    return {"orgs": [org]}
