"""Texts of rule files, and what loading them finds."""

from collections.abc import Callable
from pathlib import Path

from oktawatch.config import Settings
from oktawatch.detection.registry import BUILT_IN
from oktawatch.engine.loading import LoadedRules, load_rules

METADATA = """\
    name = "n"
    description = "d"
    runbook = "r"
    false_positives = "f"
    event_types = ("zone.update",)
"""
HEAD = """\
from dataclasses import dataclass
from datetime import timedelta

from oktawatch.detection.rule import Rule
from oktawatch.rules import (
    CountInWindow, DistinctInWindow, EventRule, FirstSeen, PairInWindow, SequenceInWindow, Severity, SignalRule,
)


"""
RULE = (
    HEAD
    + f"""\
@dataclass(frozen=True, kw_only=True)
class Mine(EventRule):
    id = "Acme.Mine"
{METADATA}
    severity: Severity = Severity.LOW
    dedup_period: timedelta = timedelta(hours=1)

    def matches(self, event):
        return True
"""
)
WINDOW = (
    HEAD
    + f"""\
@dataclass(frozen=True, kw_only=True)
class Asking(CountInWindow):
    id = "Acme.Asking"
{METADATA}
    column = "actor_id"
    signals = ("Acme.Mine",)
    severity: Severity = Severity.LOW
    dedup_period: timedelta = timedelta(hours=1)
    window: timedelta = timedelta(hours=1)
    at_least: int = 2

    def key(self, row):
        return (row.actor_id,)
"""
)
DISTINCT = (
    WINDOW.replace('    signals = ("Acme.Mine",)\n', "").replace("CountIn", "DistinctIn")
    + "\n    def value(self, row):\n        return row.session\n"
)


def windowed(kind: str, **methods: str) -> str:
    """Return a file with a windowed rule. ``methods`` maps the head of each method to its return value."""
    text = WINDOW.replace('    signals = ("Acme.Mine",)\n', "").replace("CountInWindow", kind)
    return text.replace("    at_least: int = 2\n", "") + "".join(
        f"\n    def {head}:\n        return {value}\n" for head, value in methods.items()
    )


KINDS = {
    "PairInWindow": windowed("PairInWindow", **{"first(self, row)": "True", "second(self, row)": "True"}),
    "SequenceInWindow": windowed(
        "SequenceInWindow",
        **{"starts(self, row)": "True", "follows(self, row)": "True", "suspicious(self, rows)": "bool(rows)"},
    ),
    "FirstSeen": windowed("FirstSeen", **{"counts(self, key)": "True"}),
}
"""Correct files, by kind."""
LINE = RULE[: RULE.index("class Mine")].count("\n") + 1

Load = Callable[[str], Settings]


def found(folder: Path) -> LoadedRules:
    """Load the rules of a folder."""
    return load_rules(BUILT_IN, folder)


def problems(folder: Path) -> list[str]:
    """Return the problems in a folder, without its path."""
    return [str(problem).replace(f"{folder}/", "") for problem in found(folder).problems]
