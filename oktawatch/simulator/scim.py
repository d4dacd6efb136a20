"""Parser of SCIM filter expressions, as in the `filter` parameter of the System Log API.

    expression = conjunction *( "or" conjunction )
    conjunction = term *( "and" term )
    term = "not" "(" expression ")" / "(" expression ")" / comparison
    comparison = path "pr" / path operator value
    value = string / "true" / "false" / "null" / number

Operators and keywords are case-insensitive; attribute paths are case-sensitive. A path through a list (`target.id`)
has a value for each element. A comparison is true if it is true for any of them, but `ne` is the opposite of `eq`.
Okta: "All operators except [ ] are supported". `published` can't be filtered; use `since` and `until`.
"""

import functools
import json
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .errors import OktaError, invalid_filter

Path = tuple[str, ...]
Lookup = Callable[[Path], list[Any]]
Predicate = Callable[[Lookup], bool]

MAX_DEPTH = 50
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<mark>[()])
      | (?P<text>"(?:[^"\\]|\\.)*")
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.])
      | (?P<word>[A-Za-z_$][\w$-]*(?:\.[\w$-]+)*)
    )""",
    re.VERBOSE,
)
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_TEXT: dict[str, Callable[[str, str], bool]] = {
    "co": operator.contains,
    "sw": str.startswith,
    "ew": str.endswith,
}
_LITERALS = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class Filter:
    """A parsed expression: the paths it reads, and a predicate over the values that a lookup returns for them."""

    text: str
    paths: frozenset[Path]
    matches: Predicate = field(repr=False, compare=False)


@functools.lru_cache(maxsize=256)
def parse(text: str) -> Filter:
    """Parse an expression; every event matches `""`. Raises OktaError (E0000031)."""
    if not text.strip():
        return Filter(text, frozenset(), lambda _: True)
    parser = _Parser(text)
    predicate = parser.expression(0)
    parser.end()
    return Filter(text, frozenset(parser.paths), predicate)


def values_at(event: object, path: Path) -> list[Any]:
    """Return the values at a path of an event, other than null. A list has a value for each element."""
    values = [event]
    for key in path:
        values = [value[key] for value in _flatten(values) if isinstance(value, dict) and key in value]
    return [value for value in _flatten(values) if value is not None]


def _flatten(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from value
        else:
            yield value


class _Parser:
    """Recursive descent parser over the tokens of an expression."""

    def __init__(self, text: str) -> None:
        self.paths: set[Path] = set()
        self._tokens = list(_tokens(text))
        self._next = 0

    def expression(self, depth: int) -> Predicate:
        if depth > MAX_DEPTH:
            raise invalid_filter("The expression is nested too deeply.")
        terms = [self._conjunction(depth)]
        while self._word("or"):
            terms.append(self._conjunction(depth))
        return terms[0] if len(terms) == 1 else lambda lookup: any(term(lookup) for term in terms)

    def end(self) -> None:
        if self._next < len(self._tokens):
            raise invalid_filter(f"Unexpected {self._tokens[self._next][1]!r}.")

    def _conjunction(self, depth: int) -> Predicate:
        terms = [self._term(depth)]
        while self._word("and"):
            terms.append(self._term(depth))
        return terms[0] if len(terms) == 1 else lambda lookup: all(term(lookup) for term in terms)

    def _term(self, depth: int) -> Predicate:
        if self._word("not"):
            inner = self._group(depth)
            return lambda lookup: not inner(lookup)
        if self._peek() == ("mark", "("):
            return self._group(depth)
        return self._comparison()

    def _group(self, depth: int) -> Predicate:
        self._expect("(")
        inner = self.expression(depth + 1)
        self._expect(")")
        return inner

    def _comparison(self) -> Predicate:
        kind, name = self._take("an attribute")
        if kind != "word":
            raise invalid_filter(f"Expected an attribute, not {name!r}.")
        path = tuple(name.split("."))
        if path == ("published",):
            raise invalid_filter("Property published can't be filtered: use since and until.")
        self.paths.add(path)
        _, spelled = self._take("an operator")
        op = spelled.lower()
        if op == "pr":
            return lambda lookup: bool(lookup(path))
        return _compare(path, op, self._value())

    def _value(self) -> Any:
        kind, text = self._take("a value")
        try:
            return json.loads(text) if kind in {"text", "number"} else _LITERALS[text.lower()]
        except (KeyError, ValueError):
            raise invalid_filter(f"Expected a value, not {text!r}.") from None

    def _peek(self) -> tuple[str, str] | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, expected: str) -> tuple[str, str]:
        token = self._peek()
        if token is None:
            raise invalid_filter(f"Expected {expected} at the end.")
        self._next += 1
        return token

    def _word(self, word: str) -> bool:
        token = self._peek()
        if token is None or token[0] != "word" or token[1].lower() != word:
            return False
        self._next += 1
        return True

    def _expect(self, mark: str) -> None:
        if self._take(repr(mark)) != ("mark", mark):
            raise invalid_filter(f"Expected {mark!r}.")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    text = text.rstrip()
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None or token.lastgroup is None:
            raise invalid_filter(f"Unexpected character at {at}.")
        yield token.lastgroup, token[token.lastgroup]
        at = token.end()


def _compare(path: Path, op: str, wanted: Any) -> Predicate:
    if op == "eq":
        return lambda lookup: _equal(lookup(path), wanted)
    if op == "ne":
        return lambda lookup: not _equal(lookup(path), wanted)
    if op in _TEXT:
        if not isinstance(wanted, str):
            raise invalid_filter(f"Operator {op} needs a string.")
        holds = _TEXT[op]
        return lambda lookup: any(isinstance(value, str) and holds(value, wanted) for value in lookup(path))
    if op in _ORDER:
        if not _is_ordered(wanted):
            raise invalid_filter(f"Operator {op} needs a string or a number.")
        before = _ORDER[op]
        return lambda lookup: any(
            before(value, wanted)
            for value in lookup(path)
            if _is_ordered(value) and _same_kind(value, wanted)
        )
    raise _unknown_operator(op)


def _unknown_operator(op: str) -> OktaError:
    return invalid_filter(f"Unknown operator {op!r}.")


def _equal(values: list[Any], wanted: Any) -> bool:
    if wanted is None:
        return not values
    return any(value == wanted and _same_kind(value, wanted) for value in values)


def _is_ordered(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _same_kind(left: Any, right: Any) -> bool:
    """Return whether two values have the same JSON type. In Python, `True == 1` is true."""
    return isinstance(left, str) == isinstance(right, str) and isinstance(left, bool) == isinstance(
        right, bool
    )
