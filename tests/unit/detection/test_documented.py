"""docs/rules.md describes the kinds of rules and the accessors correctly."""

import inspect
import re
from dataclasses import dataclass
from typing import get_args

import pytest

from oktawatch import rules
from oktawatch.detection.rule import Rule
from oktawatch.detection.rules.multiple_sessions import MultipleSessions
from oktawatch.detection.signals import Seen
from oktawatch.detection.validation import fault_of
from oktawatch.model.event import Event
from oktawatch.model.history import COLUMNS, Column
from tests.support.documented import DOCUMENT

TEXT = DOCUMENT.read_text("utf-8")


def names(beginning: str) -> list[str]:
    """Return the names in a paragraph or bullet of the document."""
    (found,) = re.findall(rf"^{re.escape(beginning)}(.*?)(?=^- |^$)", TEXT, re.MULTILINE | re.DOTALL)
    return re.findall(r"`(?:\w+\.)?(\w+)(?:\(\))?`", found)


def test_the_documented_accessors_of_events_exist() -> None:
    """docs/rules.md lists exactly the accessors of events."""
    documented = names("- An `event` has")
    accessors = {
        name
        for name, one in inspect.getmembers(Event)
        if isinstance(one, property) and not name.startswith("_") and one.fget
    }
    inner = {"debug_data", "p_enrichment"}
    assert sorted(documented) == sorted({"uuid", "published", "body", *(accessors - inner)})


def test_the_documented_columns_of_rows_exist() -> None:
    """docs/rules.md lists every column, and the accessor of behaviours."""
    documented = names("- A `row` is")
    columns = set(COLUMNS) - {"behaviours"}
    assert sorted(documented) == sorted({*columns, "observed"})


def test_the_documented_accessors_of_signals_exist() -> None:
    """A signal rule can use every documented accessor, which events and rows share."""
    (found,) = re.findall(
        r"a signal rule can use\s+only the columns of history: (.*?); no other attributes", TEXT, re.DOTALL
    )
    known = {name for name, one in vars(Seen).items() if isinstance(one, property)}
    assert set(re.findall(r"`(\w+)`", found)) - {"matches"} == known


def test_the_documented_key_columns_exist() -> None:
    """docs/rules.md lists exactly the columns that a rule can use as its key column."""
    found = TEXT.partition("Choose the most selective one: ")[2].partition(". By default, `column` is")[0]
    assert re.findall(r"`(\w+)`", found) == list(get_args(Column))


KINDS = re.findall(r"^\| `[A-Z]\w+` \|.*$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("row", KINDS)
def test_the_documented_methods_of_each_kind_exist(row: str) -> None:
    """The public module exports each documented kind. Methods to write are abstract, and methods with a default exist."""
    _, kind, _, write, _ = row.split("|")
    one = getattr(rules, kind.strip(" `"))
    needed, _, may = write.partition(";")
    methods = {part: set(re.findall(r"`(\w+)\(", text)) for part, text in (("needed", needed), ("may", may))}
    assert methods["needed"] == set(one.__abstractmethods__) - {"evaluate"}
    assert all(callable(getattr(one, name)) for name in methods["may"])


def test_every_public_kind_is_documented() -> None:
    """The table and the paragraph on `WindowRule` name each kind that the public module exports."""
    classes = [name for name in rules.__all__ if isinstance(getattr(rules, name), type)]
    kinds = {name for name in classes if issubclass(getattr(rules, name), Rule)}
    assert kinds == {row.split("`")[1] for row in KINDS} | {"WindowRule"}


def test_the_documented_rule_needs_its_types() -> None:
    """The documented options need their type annotations."""

    @dataclass(frozen=True, kw_only=True)
    class Typed(MultipleSessions):
        id = "Acme.Typed"
        at_least: int = 5

    @dataclass(frozen=True, kw_only=True)
    class Untyped(MultipleSessions):
        id = "Acme.Untyped"
        at_least = 5

    assert (fault_of(Typed), Typed().at_least) == (None, 5)
    assert fault_of(Untyped) == "at_least: expected a default with a type: at_least: int = …"
