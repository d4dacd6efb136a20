"""Errors in a configuration, described in one line.

pydantic's messages are never shown, because they quote the invalid value, which can be a token under the wrong key.
`ConfigError` has its own texts instead, or those of oktawatch's validators, which don't quote values.
"""

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

Location = tuple[str | int, ...]
"""The location of a value in the settings: ``("orgs", 0, "url")``."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}", re.ASCII).fullmatch
_LONGEST_KEY = 60  # characters

_EXPECTED = {
    "string_type": "expected text in quotes",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
    "tuple_type": "expected a list",
    "dict_type": "expected a table",
    "model_type": "expected a table",
    "model_attributes_type": "expected a table",
    "is_instance_of": "expected a path in quotes",
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected at least {ge}",
    "less_than_equal": "expected at most {le}",
    "literal_error": "expected {expected}",
    "missing": "expected a value, because there is no default",
}


class ConfigError(Exception):
    """An unusable configuration. The message is one line: ``PROBLEM (LOCATION): EXPECTED``.

    The message names the file or variable and the key, and never contains the value.
    """

    def __init__(self, what: str, where: str, expected: str) -> None:
        """Join the parts into a single printable line."""
        line = f"{what} ({where}): {expected}"
        super().__init__("".join(letter if letter.isprintable() else "?" for letter in line))


class MissingConfigError(ConfigError):
    """There is no configuration, neither in a file nor in environment variables."""


def invalid_value(*location: str | int, expected: str, what: str = "wrong value") -> PydanticCustomError:
    """Return the error for a value inside a table, for validators of the whole table."""
    return PydanticCustomError(
        "invalid_value", "{expected}", {"what": what, "location": location, "expected": expected}
    )


@dataclass
class Origins:
    """The file or environment variable that each value came from."""

    default: str
    """The source of unrecorded locations: the configuration file or, without one, the environment."""
    known: dict[Location, tuple[str, str]] = field(default_factory=dict)
    """Maps a location to its source and the name of the key there."""

    def record(self, location: Location, source: str, key: str = "") -> None:
        """Record the source of a value and of everything below it."""
        self.known[location] = (source, key or format_location(location))

    def alias(self, location: Location, other: Location) -> None:
        """Report a location under the name of another one, such as the secret ``token`` under the key ``token_file``."""
        self.known[location] = self._source_and_key(other)

    def where(self, location: Location) -> str:
        """Return the source and the key: ``/etc/oktawatch/oktawatch.toml: poll.interval``."""
        source, key = self._source_and_key(location)
        return f"{source}: {key}" if key else source

    def _source_and_key(self, location: Location) -> tuple[str, str]:
        for length in range(len(location), 0, -1):
            if location[:length] in self.known:
                source, key = self.known[location[:length]]
                return source, format_location(location[length:], key)
        return self.default, format_location(location)


def format_location(location: Location, start: str = "") -> str:
    """Format a location as ``orgs[#1].url``. List entries are counted from one."""
    text = start
    for part in location:
        if isinstance(part, int):
            text += f"[#{part + 1}]"
        else:
            # A key can contain control characters: quote it unless it is plain.
            shown = part if _BARE_KEY(part) else json.dumps(part[:_LONGEST_KEY])
            text += f".{shown}" if text else shown
    return text


def describe_error(invalid: ValidationError, model: type[BaseModel], origins: Origins) -> ConfigError:
    """Convert pydantic's first error to a ConfigError."""
    problem = invalid.errors(include_url=False, include_input=False)[0]
    location: Location = problem["loc"]
    context = problem.get("ctx", {})
    if location[-1:] == ("[key]",):  # pydantic's mark for an invalid key of a table
        return ConfigError("unknown key", origins.where(location[:-1]), _expectation(problem, context))
    match problem["type"]:
        case "invalid_value":
            return ConfigError(
                context["what"], origins.where((*location, *context["location"])), context["expected"]
            )
        case "extra_forbidden":
            return ConfigError("unknown key", origins.where(location), _known_keys(model, location))
        case "missing":
            return ConfigError("missing key", origins.where(location), _EXPECTED["missing"])
        case _:
            return ConfigError("wrong value", origins.where(location), _expectation(problem, context))


def _expectation(problem: ErrorDetails, context: dict[str, Any]) -> str:
    if problem["type"] == "value_error":  # raised by one of oktawatch's validators
        return str(context["error"])
    return _EXPECTED.get(problem["type"], "expected another type of value").format_map(context)


def suggest(key: str, known: Iterable[str]) -> str:
    """Return a hint with the most similar known key, or with all known keys."""
    names = sorted(known)
    similar = difflib.get_close_matches(key, names, n=1)
    return f"did you mean {similar[0]}?" if similar else f"expected one of {', '.join(names)}"


def _known_keys(model: type[BaseModel], location: Location) -> str:
    for part in location[:-1]:
        if isinstance(part, str) and part in model.model_fields:
            model = next(models_in(model.model_fields[part].annotation), model)
    return suggest(str(location[-1]), model.model_fields)


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models inside an annotation, for example the entries of a list of tables."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)
