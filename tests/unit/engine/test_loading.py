"""Operators' rules are found and checked, and broken ones are reported with their line."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from oktawatch import config
from oktawatch.config import ConfigError, Settings
from oktawatch.detection.registry import BUILT_IN
from oktawatch.detection.rules.login_success import LoginSuccess
from oktawatch.engine import loading
from oktawatch.engine.loading import LoadedRules, load_rules
from oktawatch.service.app import Application
from tests.support.documented import RULE_ID, write_example

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


ORG = '[[orgs]]\nname = "acme"\nurl = "https://acme.okta.com"\ntoken = "00inline"\n'

Load = Callable[[str], Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a configuration from a text, to which an org is added."""

    def from_text(text: str) -> Settings:
        (tmp_path / "oktawatch.toml").write_text(ORG + text, "utf-8")
        return config.load(environ={}, cwd=tmp_path)

    return from_text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder for rules."""
    made = tmp_path / "rules"
    made.mkdir()
    return made


def found(folder: Path) -> LoadedRules:
    """Load the rules of a folder."""
    return load_rules(BUILT_IN, folder)


def problems(folder: Path) -> list[str]:
    """Return the problems in a folder, without its path."""
    return [str(problem).replace(f"{folder}/", "") for problem in found(folder).problems]


def test_a_rule_of_ones_own_is_a_rule_like_any_other(folder: Path, load: Load) -> None:
    """A rule from a folder can be enabled and configured by its id, and follows the built-in rules."""
    file = write_example(folder)
    configuration = (
        f'[detection]\nrules_dir = "rules"\nenable = ["Acme.*"]\n[rules."{RULE_ID}"]\nat_least = 7\n'
    )
    rulebook = Application(load(configuration)).rulebook
    _, rule = rulebook.rules.rules
    assert (rule.id, getattr(rule, "at_least", None)) == (RULE_ID, 7)
    assert 'eventType eq "user.mfa.factor.reset_all"' in rulebook.rules.filter
    assert rulebook.found.places[RULE_ID] == str(file)
    assert list(rulebook.found.rules) == [*(rule.id for rule in BUILT_IN), RULE_ID]


def test_a_folder_is_read_anew_each_time(folder: Path) -> None:
    """A changed file is read again, even within the same second and with the same size."""
    file = folder / "mine.py"
    for severity in ("LOW ", "HIGH"):
        file.write_text(RULE.replace("Severity.LOW", f"Severity.{severity}"), "utf-8")
        rule: Any = found(folder).rules["Acme.Mine"]
        assert rule().severity.name == severity.strip()
    assert not list(folder.rglob("*.pyc"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\ndef f(:\n", "line 2: SyntaxError: "),
        ("x = 1\n\nimport nosuchmodule_at_all\n", "line 3: ModuleNotFoundError: No module named"),
        ("def f():\n    1 / 0\n\nf()\n", "line 2: ZeroDivisionError: division by zero"),
        ("x = 1\nraise SystemExit\n", "line 2: SystemExit"),
        ("x = '\0'\n", "SyntaxError: source code string cannot contain null bytes"),
        ("x = 1\n", "it contains no rule: expected a subclass of a kind such as EventRule, with an id"),
        (
            RULE.replace("@dataclass(frozen=True, kw_only=True)\n", ""),
            f"line {LINE - 1}: expected @dataclass(",
        ),
        (RULE.replace("frozen=True, ", ""), f"line {LINE - 1}: TypeError: cannot inherit non-frozen"),
        (
            RULE.replace("Mine(EventRule)", "Mine(Rule)"),
            f"line {LINE}: expected a subclass of a rule class",
        ),
        (RULE.replace("def matches", "def match_"), f"line {LINE}: expected the method matches, which"),
        (RULE.replace('"Acme.Mine"', '"Acme Mine"'), f"line {LINE}: id: expected letters, digits, dots"),
        (RULE.replace('runbook = "r"', 'runbook = ""'), f"line {LINE}: runbook: expected a non-empty string"),
        (RULE.replace('("zone.update",)', '"zone.update"'), f"line {LINE}: event_types: expected a tuple"),
        (RULE.replace('("zone.update",)', '("*",)'), f"line {LINE}: event_types: expected a tuple"),
        (RULE.replace('("zone.update",)', "('a\" or',)"), f"line {LINE}: event_types: expected a tuple"),
        (
            RULE.replace(" = Severity.LOW", ""),
            f"line {LINE}: severity: expected a default with a type: severity: Severity = …",
        ),
        (
            RULE.replace("period: timedelta = ", "period = "),
            f"line {LINE}: dedup_period: expected a default with a type: dedup_period: timedelta = …",
        ),
        (
            RULE + "    threshold = 5\n",
            f"line {LINE}: threshold: expected a default with a type: threshold: int = …",
        ),
        (RULE.replace("= Severity.LOW", "= 'LOW'"), f"line {LINE}: severity: expected a Severity such as"),
        *(
            (
                RULE.replace("    severity:", f"    share: {kind} = {default}\n    severity:"),
                f"line {LINE}: share: expected a Severity, timedelta, bool, int or tuple of strings",
            )
            for kind, default in {"float": "0.5", "str": "'most'", "object": "None"}.items()
        ),
        (RULE.replace("hours=1", "hours=0"), f"line {LINE}: dedup_period: expected a timedelta above zero"),
        (
            RULE + "\n    def needed_types(self):\n        return 1 / 0\n",
            f"line {LINE}: needed_types: raised",
        ),
        *(
            (
                f"{source}\n    def {name}(self, *_):\n        return 1 / 0\n",
                f"line {LINE}: {name}: expected another name: oktawatch has a method of this name",
            )
            for source, name in (
                *((RULE, name) for name in ("match", "evaluate", "matching_events")),
                *((WINDOW, name) for name in ("keyed", "accepted", "signalled", "_holds")),
                (KINDS["FirstSeen"], "_arrivals"),
            )
        ),
        (
            RULE.replace("EventRule)", "CountInWindow)").replace(
                "def matches(self, event", "def key(self, row"
            ),
            f"line {LINE}: column: expected one of actor_id, ",
        ),
        (
            RULE.replace("Mine(EventRule)", "Mine(FirstSeen)").replace(
                "    name =", "    conditions = {'ip': 1}\n    column = 'actor_id'\n    name ="
            ),
            f"line {LINE}: conditions: expected some of published, ",
        ),
        (
            WINDOW.replace("(row.actor_id,)", "(row.actor_id)"),
            f"line {LINE}: key: expected a tuple of strings",
        ),
        (
            RULE + "\n    def dedup(self, event):\n        return event.actor_id\n",
            f"line {LINE}: dedup: expected a tuple of strings",
        ),
        (WINDOW + "\n    fewest = '2'\n", f"line {LINE}: fewest: expected a whole number of at least 1"),
        (
            WINDOW + "\n    @property\n    def fewest(self):\n        return 1 / 0\n",
            f"line {LINE}: fewest: raised ZeroDivisionError: division by zero",
        ),
        (
            WINDOW.replace("(row.actor_id,)", "[row.actor_id]"),
            f"line {LINE}: key: expected a tuple of strings",
        ),
        (WINDOW.replace("row.actor_id,", "row.is_proxy,"), f"line {LINE}: key: expected a tuple of strings"),
        (DISTINCT, f"line {LINE}: value: history has no session"),
        (
            DISTINCT.replace("row.session", "row.client_ip or row.address"),
            f"line {LINE}: value: history has no address",
        ),
        (RULE.replace("return True", "return event.mood"), f"line {LINE}: matches: an event has no mood"),
        (
            RULE.replace("return True", "return event.is_proxy and kown"),
            f"line {LINE}: matches: NameError: name 'kown'",
        ),
        (
            RULE.replace("return True", "return not event.is_proxy and kown"),
            f"line {LINE}: matches: NameError: name 'kown'",
        ),
        (RULE.replace("return True", "return self.most"), f"line {LINE}: matches: the rule has no most"),
        (
            WINDOW
            + '\n    def takes(self, row):\n        return self.signalled(row, "Acme.Mine") and row.ip\n',
            f"line {LINE}: takes: history has no ip",
        ),
        (
            WINDOW
            + '\n    def takes(self, row):\n        return self.signalled(row, "Acme.Mine") or row.ip\n',
            f"line {LINE}: takes: history has no ip",
        ),
        *(
            (
                f"{RULE}\n    def {method}(self, event):\n        return event.nothing\n",
                f"line {LINE}: {method}: an event has no nothing",
            )
            for method in ("title", "context", "severity_of", "dedup")
        ),
        *(
            (
                KINDS[kind].replace(
                    f"def {method}(self, row):", f"def {method}(self, row):\n        row.nothing"
                ),
                f"line {LINE}: {method}: history has no nothing",
            )
            for kind, methods in {
                "PairInWindow": ("first", "second"),
                "SequenceInWindow": ("starts", "follows"),
            }.items()
            for method in methods
        ),
        (
            KINDS["SequenceInWindow"].replace("return bool(rows)", "return rows[0].nothing"),
            f"line {LINE}: suspicious: history has no nothing",
        ),
        (
            KINDS["FirstSeen"].replace("return True", "return self.nothing"),
            f"line {LINE}: counts: the rule has no nothing",
        ),
        *(
            (RULE.replace("def matches(self, event)", head), f"line {LINE}: matches: {said}")
            for head, said in {
                "def matches(self)": "expected def matches(self, event)",
                "def matches(self, event, org)": "expected def matches(self, event)",
                "async def matches(self, event)": "expected a method that returns its result, without async",
            }.items()
        ),
        (
            RULE.replace("return True", "yield event"),
            f"line {LINE}: matches: expected a method that returns its result, without async or yield",
        ),
        (
            RULE.replace("return True", "import nosuchmodule_at_all"),
            f"line {LINE}: matches: ModuleNotFoundError: No module named",
        ),
        (
            RULE.replace("return True", "import json; json.parse(event)"),
            f"line {LINE}: matches: the module json has no parse",
        ),
        (
            RULE.replace("return True", "return event.actor_id.lowercase()"),
            f"line {LINE}: matches: a value of type str has no lowercase",
        ),
        *(
            (
                f"{RULE}\n    def {method}(self, event):\n        return {result}\n",
                f"line {LINE}: {method}: expected {expected}",
            )
            for method, result, expected in (
                ("title", "None", "a string"),
                ("severity_of", "'HIGH'", "a Severity such as Severity.MEDIUM"),
                ("context", "[]", "a dict of JSON values"),
                ("context", "{'event': object()}", "a dict of JSON values"),
            )
        ),
        (
            RULE + "\n    def dedup(self):\n        return ()\n",
            f"line {LINE}: dedup: expected def dedup(self, event)",
        ),
        (
            WINDOW.replace("def key(self, row)", "def key(self)"),
            f"line {LINE}: key: expected def key(self, row)",
        ),
        (
            WINDOW + "\n    def holds(self, window):\n        return len(window) > 3 and window[0].ip\n",
            f"line {LINE}: holds: history has no ip",
        ),
        (
            DISTINCT.replace("row.session", "[row.client_ip]"),
            f"line {LINE}: value: expected a string or None",
        ),
        *(
            (
                KINDS["FirstSeen"] + f"\n    def any_true({parameters}):\n        {body}\n",
                f"line {LINE}: any_true: {said}",
            )
            for parameters, body, said in (
                ("self", "return self.most", "the rule has no most"),
                ("self", "return ('ip',)", "expected a tuple of columns such as"),
                ("self", "return 'is_proxy'", "expected a tuple of columns such as"),
                ("self, row", "return ()", "raised TypeError: "),
            )
        ),
        *(
            (
                KINDS["FirstSeen"].replace("    column", f"    conditions = {wrong}\n    column"),
                f"line {LINE}: conditions: expected a dict such as",
            )
            for wrong in ("('is_proxy',)", "True")
        ),
        (
            KINDS["FirstSeen"].replace("def counts(self, key)", "def counts(self)"),
            f"line {LINE}: counts: expected def counts(self, key)",
        ),
        (
            RULE + "\n    def __post_init__(self):\n        raise SystemExit\n",
            f"line {LINE}: creating the rule raised SystemExit",
        ),
        ("import asyncio\nraise asyncio.CancelledError\n", "line 2: CancelledError"),
        *(
            (
                WINDOW.replace("    signals", f"    keyed_by = {wrong}\n    signals"),
                f"line {LINE}: keyed_by: expected a tuple of columns",
            )
            for wrong in ("'actor_id'", "('client_ip',)", "('actor_id', 'address')", "['actor_id']", "(1,)")
        ),
    ],
)
def test_a_broken_file_is_named_with_its_line(folder: Path, text: str, expected: str) -> None:
    """One line says what to fix, and the other rules are loaded."""
    (folder / "broken.py").write_text(text, "utf-8")
    write_example(folder)
    (problem,) = problems(folder)
    assert problem.startswith((f"broken.py, {expected}", f"broken.py: {expected}"))
    assert problem.isprintable()
    assert RULE_ID in found(folder).rules


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        (
            RULE + "\n    def needed_types(self):\n        return ('zone.update',) * (2 - self.threshold)\n",
            "threshold = 2",
            "needed_types: expected a tuple of event types",
        ),
        (
            KINDS["PairInWindow"]
            + "\n    @property\n    def fewest(self):\n        return 1 // (2 - self.threshold)\n",
            "threshold = 2",
            "fewest: raised ZeroDivisionError: integer division or modulo by zero",
        ),
        (
            KINDS["FirstSeen"] + "\n    def any_true(self):\n        return ('is_proxy', 'ip')[: self.threshold]\n",
            "threshold = 2",
            "any_true: expected a tuple of columns",
        ),
        *(
            (
                RULE
                + f"\n    def __post_init__(self):\n        if self.threshold > 1:\n            raise {error}('of one')\n",
                "threshold = 2",
                f"creating it raised {error}: of one",
            )
            for error in ("ValueError", "SystemExit")
        ),
    ],
)  # fmt: skip
def test_options_that_a_rule_of_your_own_refuses(
    load: Load, folder: Path, text: str, options: str, expected: str
) -> None:
    """Options with which a custom rule fails are an error that names the rule, before the rule is used."""
    (folder / "mine.py").write_text(text, "utf-8")
    rule_id = next(rule_id for rule_id in ("Acme.Mine", "Acme.Asking") if f'"{rule_id}"' in text)
    settings = load(f'[detection]\nrules_dir = "{folder}"\n[rules."{rule_id}"]\n{options}\n')

    with pytest.raises(ConfigError) as caught:
        _ = Application(settings).rulebook

    where = f'oktawatch.toml: rules."{rule_id}"): expected options that the rule accepts: '
    assert where + expected in str(caught.value)


@pytest.mark.parametrize("text", [RULE, *KINDS.values(), DISTINCT.replace("row.session", "row.client_ip")])
def test_a_correct_rule_of_each_kind_is_usable(folder: Path, text: str) -> None:
    """The checks find no fault in a correct rule of each kind."""
    (folder / "mine.py").write_text(text, "utf-8")
    assert problems(folder) == []


def test_a_rule_may_fail_on_an_invented_value(folder: Path) -> None:
    """Only a missing name is a fault, because real events may have other values."""
    (folder / "mine.py").write_text(RULE.replace("return True", "return {}[event.client_ip]"), "utf-8")
    assert problems(folder) == []


def test_a_file_that_is_no_text_is_named(folder: Path) -> None:
    """A file that is not text is named in a problem."""
    (folder / "broken.py").write_bytes(b"\xff\xfe\x00")
    (problem,) = problems(folder)
    assert problem.startswith("broken.py")


def test_an_id_is_its_rules_own(folder: Path) -> None:
    """A second rule with the same id is a problem, whether the first is built-in or from a file."""
    (folder / "a.py").write_text(RULE, "utf-8")
    (folder / "b.py").write_text(RULE, "utf-8")
    (folder / "c.py").write_text(RULE.replace("Acme.Mine", LoginSuccess.id), "utf-8")
    assert problems(folder) == [
        "b.py: expected a unique id: Acme.Mine is another rule's (a.py)",
        f"c.py: expected a unique id: {LoginSuccess.id} is another rule's (built-in)",
    ]
    assert found(folder).rules[LoginSuccess.id] is LoginSuccess


def test_only_rule_files_are_run(folder: Path) -> None:
    """Only Python files without a leading underscore or dot are run."""
    for name in ("_common.py", ".hidden.py", "notes.txt", "cases.yaml"):
        (folder / name).write_text("raise SystemExit", "utf-8")
    assert found(folder).problems == ()


def test_what_anybody_may_write_to_is_not_run(folder: Path) -> None:
    """A world-writable file or folder is refused, because its code would run with the daemon's privileges."""
    file = folder / "mine.py"
    file.write_text(RULE, "utf-8")
    file.chmod(0o666)
    assert problems(folder) == [
        f"mine.py: it is world-writable, and its code runs here: chmod o-w {file}".replace(
            f"{folder}/mine.py", "mine.py"
        )
    ]
    file.chmod(0o644)
    folder.chmod(0o777)
    assert "Acme.Mine" not in found(folder).rules
    folder.chmod(0o755)
    assert "Acme.Mine" in found(folder).rules


def test_a_folder_that_is_not_there_is_a_wrong_configuration(load: Load) -> None:
    """A missing rules folder raises ConfigError, because the daemon would silently run without these rules."""
    with pytest.raises(
        ConfigError, match=r"detection.rules_dir\): expected a folder that can be read: No such"
    ):
        _ = Application(load('[detection]\nrules_dir = "rules"\n')).rules


def test_a_broken_rule_may_still_be_named(folder: Path, load: Load) -> None:
    """Settings of an unknown rule are ignored while a file can't be loaded, and are an error otherwise."""
    configuration = (
        '[detection]\nrules_dir = "rules"\nenable = ["Acme.*"]\n[rules."Acme.Mine"]\nseverity = "HIGH"\n'
    )
    configuration += '[[notifiers]]\ntype = "log"\nrules = ["Acme.Mine"]\n'
    (folder / "mine.py").write_text(RULE + "(\n", "utf-8")
    assert len(Application(load(configuration)).rules.rules) == 1
    (folder / "mine.py").write_text(RULE, "utf-8")
    assert len(Application(load(configuration)).rules.rules) == 2
    (folder / "mine.py").unlink()
    with pytest.raises(ConfigError, match="no such rule"):
        _ = Application(load(configuration)).rules


def test_packages_bring_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package's entry point loads its rule, and an unusable entry point is a problem."""
    monkeypatch.setattr(LoginSuccess, "id", "Acme.From.Package")
    here = "oktawatch.detection.rules.login_success"
    points = {"good": f"{here}:LoginSuccess", "lost": f"{here}:Nothing", "odd": f"{here}:dataclass"}

    def installed(*, group: str) -> EntryPoints:
        return EntryPoints(EntryPoint(name, value, group) for name, value in points.items())

    monkeypatch.setattr(loading, "entry_points", installed)
    loaded = load_rules([], None)
    assert loaded.rules == {"Acme.From.Package": LoginSuccess}
    assert [str(problem).partition(": ")[0] for problem in loaded.problems] == [
        "entry point lost",
        "entry point odd",
    ]


def test_a_signal_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    """A rule whose signal is missing can't be used. The signal may be in another file, read before or after it."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "asking.py").write_text(WINDOW)
    found = load_rules(BUILT_IN, folder)
    (problem,) = found.problems
    assert str(problem) == (
        f"{folder / 'asking.py'}: signals: no such signal rule Acme.Mine; there are: Okta.Login.Success"
    )
    assert found.rules.keys() == found.places.keys() == {rule.id for rule in BUILT_IN}
    (folder / "mine.py").write_text(RULE)
    assert [found_problem.problem for found_problem in load_rules(BUILT_IN, folder).problems] == [
        problem.problem
    ]
    (folder / "mine.py").write_text(RULE.replace("EventRule)", "SignalRule)"))
    found = load_rules(BUILT_IN, folder)
    assert (found.problems, "Acme.Asking" in found.rules) == ((), True)
