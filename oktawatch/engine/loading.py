"""Load custom rules from a folder of Python files, and from installed packages.

A file is compiled and run in a new module each time, so that a reload picks up changes. No bytecode is written. An
error in a file or package becomes a problem with its place and line, and does not affect the other rules.

A rule's code runs with the program's privileges, so a world-writable file or folder is refused.
"""

import ast
import stat
import sys
import traceback
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from msgspec import Struct

from oktawatch.detection.rule import Rule
from oktawatch.detection.rule_guard import is_interrupt
from oktawatch.detection.validation import fault_of, missing_signals

ENTRY_POINTS = "oktawatch.rules"
"""The entry point group for the rule classes of installed packages."""

_MODULES = "oktawatch_rules_dir."
_CASES = (".yaml", ".yml")


class RuleProblem(Struct, frozen=True):
    """Why a file, a package or one of its rules can't be used."""

    place: str
    """The file, or the package's entry point."""
    line: int | None
    problem: str

    @property
    def where(self) -> str:
        """The place, with the line if it is known."""
        return self.place if self.line is None else f"{self.place}, line {self.line}"

    def __str__(self) -> str:
        text = f"{self.where}: {self.problem}"
        return "".join(letter if letter.isprintable() else " " for letter in text)


class LoadedRules(Struct, frozen=True):
    """The usable rules, and the problems of the others."""

    rules: dict[str, type[Rule]]
    """The rules by id."""
    places: dict[str, str]
    """The place of each rule, by its id."""
    problems: tuple[RuleProblem, ...]


def load_rules(built_in: Iterable[type[Rule]], folder: Path | None) -> LoadedRules:
    """Load the built-in rules, the rules of installed packages, and those of a folder's Python files.

    Files whose names begin with ``_`` or a dot are ignored. Raises OSError if the folder can't be read.
    """
    entries = sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: (entry.name, entry.value))
    files = [] if folder is None else sorted(folder.iterdir())
    found = [*map(_from_package, entries)]
    if folder is not None and (problem := _problem_of_mode(folder)):
        found.append((str(folder), [problem]))
    else:
        found += [(str(file), list(_from_file(file))) for file in files if _is_rule_file(file)]
    return _gather(built_in, found)


def load_files(built_in: Iterable[type[Rule]], files: Iterable[Path]) -> LoadedRules:
    """Load the built-in rules and the rules of these Python files."""
    return _gather(built_in, [(str(file), list(_from_file(file))) for file in files])


def cases_and_rules(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Return the files and folders of test cases at these paths, and the Python files next to the cases.

    A Python file has its cases in a YAML file of the same name. A path to either selects both. In a folder, only
    Python files with cases are selected.
    """
    cases: list[Path] = []
    rules: list[Path] = []
    for path in paths:
        if path.suffix == ".py":
            cases.append(next(_existing(path, _CASES), path.with_suffix(".yaml")))
            rules.append(path)
            continue
        cases.append(path)
        below = (
            [file for file in sorted(path.rglob("*")) if file.suffix in _CASES] if path.is_dir() else [path]
        )
        rules += [rule for file in below for rule in _existing(file, (".py",))]
    return cases, list(dict.fromkeys(rules))


def _existing(path: Path, suffixes: Iterable[str]) -> Iterator[Path]:
    return (beside for suffix in suffixes if (beside := path.with_suffix(suffix)).is_file())


Findings = list[type[Rule] | RuleProblem]


def _gather(built_in: Iterable[type[Rule]], found: Iterable[tuple[str, Findings]]) -> LoadedRules:
    rules = {rule.id: rule for rule in built_in}
    places = dict.fromkeys(rules, "built-in")
    problems = []
    for place, findings in found:
        for finding in findings:
            if isinstance(finding, RuleProblem):
                problems.append(finding)
            elif finding.id in rules:
                problem = f"expected a unique id: {finding.id} is another rule's ({places[finding.id]})"
                problems.append(RuleProblem(place, None, problem))
            else:
                rules[finding.id], places[finding.id] = finding, place
    for rule_id, rule in list(rules.items()):
        if missing := missing_signals(rule, rules):
            problems.append(RuleProblem(places.pop(rule_id), None, missing))
            del rules[rule_id]
    return LoadedRules(rules, places, tuple(problems))


def _is_rule_file(file: Path) -> bool:
    return file.suffix == ".py" and not file.name.startswith(("_", "."))


def _from_file(file: Path) -> Iterator[type[Rule] | RuleProblem]:
    place = str(file)
    try:
        mode_problem = _problem_of_mode(file)
        text = file.read_bytes()
    except OSError as error:
        yield RuleProblem(place, None, f"can't read it: {error.strerror}")
        return
    if mode_problem:
        yield mode_problem
        return
    try:
        tree = ast.parse(text, place)
        module = _run(compile(tree, place, "exec"), file)
    except BaseException as error:  # a file can raise anything, and must not affect the others
        if is_interrupt(error):
            raise
        yield RuleProblem(place, _line(error, place), _text(error))
        return
    lines = {node.name: node.lineno for node in tree.body if isinstance(node, ast.ClassDef)}
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Rule) and value.__module__ == module.__name__
    ]
    # A class without an id is a base class of the file's rules.
    candidates = [candidate for candidate in dict.fromkeys(classes) if hasattr(candidate, "id")]
    if not candidates:
        problem = "it contains no rule: expected a subclass of a kind such as EventRule, with an id"
        yield RuleProblem(place, None, problem)
    for candidate in candidates:
        fault = fault_of(candidate)
        yield candidate if fault is None else RuleProblem(place, lines.get(candidate.__name__), fault)


def _run(code: object, file: Path) -> ModuleType:
    module = ModuleType(_MODULES + file.stem)
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # dataclasses look up annotations there
    exec(code, vars(module))  # type: ignore[arg-type] # noqa: S102 -- running custom rules is the purpose
    return module


def _from_package(entry: EntryPoint) -> tuple[str, Findings]:
    package = f" of {entry.dist.name}" if entry.dist else ""
    place = f"entry point {entry.name}{package}"
    try:
        found = entry.load()
    except BaseException as error:  # a package can raise anything, and must not affect the others
        if is_interrupt(error):
            raise
        return place, [RuleProblem(place, None, _text(error))]
    if not isinstance(found, type) or not issubclass(found, Rule):
        return place, [RuleProblem(place, None, f"expected the class of a rule at {entry.value}")]
    fault = fault_of(found)
    return place, [found if fault is None else RuleProblem(place, None, fault)]


def _problem_of_mode(path: Path) -> RuleProblem | None:
    if not path.stat().st_mode & stat.S_IWOTH:
        return None
    return RuleProblem(str(path), None, f"it is world-writable, and its code runs here: chmod o-w {path}")


def _line(error: BaseException, place: str) -> int | None:
    """Return the line of the file at which an error occurred."""
    if isinstance(error, SyntaxError) and error.filename == place:
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == place), None)


def _text(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
