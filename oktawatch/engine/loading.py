"""Load users' rules from a folder of Python files, and from installed packages.

A file is compiled and run in a new module each time, so a reload gets the rules as they are then; no bytecode
is written beside it. An error in one file or package is a problem that names it, with the line, and affects no
other.

A rule's code runs with all rights of the program: a file that anybody may write to is refused.
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
"""The group in which an installed package names its rules' classes."""

_MODULES = "oktawatch_rules_dir."
_CASES = (".yaml", ".yml")


class RuleProblem(Struct, frozen=True):
    """Why a file or package does not have a rule that can be used."""

    place: str
    """A file, or a package's entry point."""
    line: int | None
    problem: str

    @property
    def where(self) -> str:
        """The place, with the line where one is known."""
        return self.place if self.line is None else f"{self.place}, line {self.line}"

    def __str__(self) -> str:
        text = f"{self.where}: {self.problem}"
        return "".join(letter if letter.isprintable() else " " for letter in text)


class LoadedRules(Struct, frozen=True):
    """The rules that were found, and the problems of those that can't be used."""

    rules: dict[str, type[Rule]]
    """By their ids, which are unique."""
    places: dict[str, str]
    """Where each rule was found, by its id."""
    problems: tuple[RuleProblem, ...]


def load_rules(built_in: Iterable[type[Rule]], folder: Path | None) -> LoadedRules:
    """Load the rules of installed packages and those of a folder's Python files, beside the built-in ones.

    Files whose names begin with ``_`` or a dot are ignored. Raises OSError if the folder can't be read.
    """
    entries = sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: (entry.name, entry.value))
    files = [] if folder is None else sorted(folder.iterdir())
    found = [*map(_from_package, entries)]
    if folder is not None and (problem := _open_to_all(folder)):
        found.append((str(folder), [problem]))
    else:
        found += [(str(file), list(_from_file(file))) for file in files if _is_rule_file(file)]
    return _gather(built_in, found)


def load_files(built_in: Iterable[type[Rule]], files: Iterable[Path]) -> LoadedRules:
    """Load the rules of these Python files alone, beside the built-in ones."""
    return _gather(built_in, [(str(file), list(_from_file(file))) for file in files])


def cases_and_rules(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Return the files of test cases at these paths, and the Python files beside them.

    A Python file has its cases in a YAML file of the same name; either of them names both, also in a folder. A
    Python file without cases is not run.
    """
    cases: list[Path] = []
    rules: list[Path] = []
    for path in paths:
        if path.suffix == ".py":
            cases.append(next(_existing(path, _CASES), path.with_suffix(".yaml")))
            rules.append(path)
            continue
        cases.append(path)
        below = [one for one in sorted(path.rglob("*")) if one.suffix in _CASES] if path.is_dir() else [path]
        rules += [rule for one in below for rule in _existing(one, (".py",))]
    return cases, list(dict.fromkeys(rules))


def _existing(path: Path, suffixes: Iterable[str]) -> Iterator[Path]:
    return (beside for suffix in suffixes if (beside := path.with_suffix(suffix)).is_file())


Findings = list[type[Rule] | RuleProblem]


def _gather(built_in: Iterable[type[Rule]], found: Iterable[tuple[str, Findings]]) -> LoadedRules:
    rules = {rule.id: rule for rule in built_in}
    places = dict.fromkeys(rules, "built-in")
    problems = []
    for place, findings in found:
        for one in findings:
            if isinstance(one, RuleProblem):
                problems.append(one)
            elif one.id in rules:
                problem = f"expected an id of its own: {one.id} is another rule's ({places[one.id]})"
                problems.append(RuleProblem(place, None, problem))
            else:
                rules[one.id], places[one.id] = one, place
    for name, rule in list(rules.items()):
        if missing := missing_signals(rule, rules):
            problems.append(RuleProblem(places.pop(name), None, missing))
            del rules[name]
    return LoadedRules(rules, places, tuple(problems))


def _is_rule_file(file: Path) -> bool:
    return file.suffix == ".py" and not file.name.startswith(("_", "."))


def _from_file(file: Path) -> Iterator[type[Rule] | RuleProblem]:
    place = str(file)
    try:
        open_to_all = _open_to_all(file)
        text = file.read_bytes()
    except OSError as error:
        yield RuleProblem(place, None, f"can't read it: {error.strerror}")
        return
    if open_to_all:
        yield open_to_all
        return
    try:
        tree = ast.parse(text, place)
        module = _run(compile(tree, place, "exec"), file)
    except BaseException as error:  # whatever a file does must stop no other
        if is_interrupt(error):
            raise
        yield RuleProblem(place, _line(error, place), _text(error))
        return
    lines = {node.name: node.lineno for node in tree.body if isinstance(node, ast.ClassDef)}
    classes = [
        one
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Rule) and one.__module__ == module.__name__
    ]
    # A class without an id is what several rules of the file have in common.
    candidates = [one for one in dict.fromkeys(classes) if hasattr(one, "id")]
    if not candidates:
        nothing = "no rule in it: expected a class of a kind such as EventRule, with an id"
        yield RuleProblem(place, None, nothing)
    for one in candidates:
        fault = fault_of(one)
        yield one if fault is None else RuleProblem(place, lines.get(one.__name__), fault)


def _run(code: object, file: Path) -> ModuleType:
    module = ModuleType(_MODULES + file.stem)
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # where dataclasses look annotations up
    exec(code, vars(module))  # type: ignore[arg-type] # noqa: S102 -- running an operator's rules is the purpose
    return module


def _from_package(entry: EntryPoint) -> tuple[str, Findings]:
    package = f" of {entry.dist.name}" if entry.dist else ""
    place = f"entry point {entry.name}{package}"
    try:
        found = entry.load()
    except BaseException as error:  # whatever a package does must stop no other
        if is_interrupt(error):
            raise
        return place, [RuleProblem(place, None, _text(error))]
    if not isinstance(found, type) or not issubclass(found, Rule):
        return place, [RuleProblem(place, None, f"expected the class of a rule at {entry.value}")]
    fault = fault_of(found)
    return place, [found if fault is None else RuleProblem(place, None, fault)]


def _open_to_all(path: Path) -> RuleProblem | None:
    if not path.stat().st_mode & stat.S_IWOTH:
        return None
    return RuleProblem(str(path), None, f"anybody may write to it, and its code runs here: chmod o-w {path}")


def _line(error: BaseException, place: str) -> int | None:
    """Return the last line of the file in an error's traceback."""
    if isinstance(error, SyntaxError) and error.filename == place:
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == place), None)


def _text(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
