"""A broken rule is reported in one line that says what to fix, and a correct rule of each kind is accepted."""

from pathlib import Path

import pytest

from oktawatch.config import ConfigError
from oktawatch.service.app import Application
from tests.support.documented import RULE_ID, write_example
from tests.support.rule_files import DISTINCT, KINDS, LINE, RULE, WINDOW, Load, found, problems


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
        *(
            (
                f"{source}\n    def dedup(self, event):\n        return (event.client_ip,)\n",
                f"line {LINE}: dedup: expected no method of this name: a history rule groups its matches by the key",
            )
            for source in (WINDOW, KINDS["FirstSeen"])
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
def test_a_broken_file_is_reported_with_its_line(folder: Path, text: str, expected: str) -> None:
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
def test_options_that_a_custom_rule_refuses_are_an_error(
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


def test_a_file_that_is_not_text_is_reported(folder: Path) -> None:
    """A file that is not text is named in a problem."""
    (folder / "broken.py").write_bytes(b"\xff\xfe\x00")
    (problem,) = problems(folder)
    assert problem.startswith("broken.py")
