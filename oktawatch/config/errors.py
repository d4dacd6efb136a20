"""What is wrong with a configuration, in one line for people.

pydantic's own messages quote the value that they refuse, and a refused value can be a token in the
wrong place. So nothing of them is shown: an error is told by its type, its place and what belongs
there, and the text of a validator of ours, which never quotes either.
"""

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

Place = tuple[str | int, ...]
"""Where a value stands in the settings: ``("orgs", 0, "url")``."""

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
    "missing": "expected a value, since there is no default",
}


class ConfigError(Exception):
    """A configuration that can't be used. Its text is one line: ``WHAT (WHERE): WHAT IS EXPECTED``.

    It names file and key, and never holds the value.
    """

    def __init__(self, what: str, where: str, expected: str) -> None:
        """Join the parts to one line that a terminal can show."""
        line = f"{what} ({where}): {expected}"
        super().__init__("".join(letter if letter.isprintable() else "?" for letter in line))


def misfit(*place: str | int, expected: str, what: str = "wrong value") -> PydanticCustomError:
    """Make the error of a validator that looks at a whole table and blames something in it."""
    return PydanticCustomError("misfit", "{expected}", {"what": what, "place": place, "expected": expected})


@dataclass
class Origins:
    """Which file or variable each value came from."""

    default: str
    """What a place is said to come from when nothing more is known: the configuration file."""
    known: dict[Place, tuple[str, str]] = field(default_factory=dict)
    """Place to source and the key's name there."""

    def note(self, place: Place, source: str, key: str = "") -> None:
        """Remember where a value, or everything below it, came from."""
        self.known[place] = (source, key or spell(place))

    def call(self, place: Place, twin: Place) -> None:
        """Let a place go by the name of another: a secret by that of its file."""
        self.known[place] = self._of(twin)

    def where(self, place: Place) -> str:
        """Name source and key: ``/etc/oktawatch/oktawatch.toml: poll.interval``."""
        source, key = self._of(place)
        return f"{source}: {key}" if key else source

    def _of(self, place: Place) -> tuple[str, str]:
        for length in range(len(place), 0, -1):
            if place[:length] in self.known:
                source, key = self.known[place[:length]]
                return source, spell(place[length:], key)
        return self.default, spell(place)


def spell(place: Place, start: str = "") -> str:
    """Write a place as people read it: ``orgs[#1].url``; entries of a list count from one."""
    text = start
    for part in place:
        if isinstance(part, int):
            text += f"[#{part + 1}]"
        else:
            # A key is text from a file, too: quoted unless plain, so that it can't act on a terminal.
            shown = part if _BARE_KEY(part) else json.dumps(part[:_LONGEST_KEY])
            text += f".{shown}" if text else shown
    return text


def explain(invalid: ValidationError, model: type[BaseModel], origins: Origins) -> ConfigError:
    """Tell the first problem that pydantic found, in our own words."""
    problem = invalid.errors(include_url=False, include_input=False)[0]
    place: Place = problem["loc"]
    context = problem.get("ctx", {})
    match problem["type"]:
        case "misfit":
            return ConfigError(
                context["what"], origins.where((*place, *context["place"])), context["expected"]
            )
        case "extra_forbidden":
            return ConfigError("unknown key", origins.where(place), _known_keys(model, place))
        case "missing":
            return ConfigError("missing key", origins.where(place), _EXPECTED["missing"])
        case _:
            return ConfigError("wrong value", origins.where(place), _expectation(problem, context))


def _expectation(problem: ErrorDetails, context: dict[str, Any]) -> str:
    if problem["type"] == "value_error":  # raised by a validator of ours
        return str(context["error"])
    return _EXPECTED.get(problem["type"], "expected another type of value").format_map(context)


def suggest(key: str, known: Iterable[str]) -> str:
    """Name the key that was probably meant, or all that there are."""
    names = sorted(known)
    near = difflib.get_close_matches(key, names, n=1)
    return f"did you mean {near[0]}?" if near else f"expected one of {', '.join(names)}"


def _known_keys(model: type[BaseModel], place: Place) -> str:
    for part in place[:-1]:
        if isinstance(part, str) and part in model.model_fields:
            model = next(models_in(model.model_fields[part].annotation), model)
    return suggest(str(place[-1]), model.model_fields)


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation names, such as that of a list of tables."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)
