"""Custom rules are found in the rules folder and in installed packages."""

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from oktawatch.config import ConfigError
from oktawatch.detection.registry import BUILT_IN
from oktawatch.detection.rules.login_success import LoginSuccess
from oktawatch.engine import loading
from oktawatch.engine.loading import load_rules
from oktawatch.service.app import Application
from tests.support.documented import RULE_ID, write_example
from tests.support.rule_files import RULE, WINDOW, Load, found, problems


def test_a_custom_rule_can_be_enabled_and_configured(folder: Path, load: Load) -> None:
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


def test_a_changed_file_is_read_again(folder: Path) -> None:
    """A changed file is read again, even within the same second and with the same size."""
    file = folder / "mine.py"
    for severity in ("LOW ", "HIGH"):
        file.write_text(RULE.replace("Severity.LOW", f"Severity.{severity}"), "utf-8")
        rule: Any = found(folder).rules["Acme.Mine"]
        assert rule().severity.name == severity.strip()
    assert not list(folder.rglob("*.pyc"))


def test_a_repeated_id_is_a_problem(folder: Path) -> None:
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


def test_a_world_writable_file_is_refused(folder: Path) -> None:
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


def test_a_missing_folder_is_a_configuration_error(load: Load) -> None:
    """A missing rules folder raises ConfigError, because the daemon would silently run without these rules."""
    with pytest.raises(
        ConfigError, match=r"detection.rules_dir\): expected a folder that can be read: No such"
    ):
        _ = Application(load('[detection]\nrules_dir = "rules"\n')).rules


def test_settings_of_a_broken_rule_are_ignored(folder: Path, load: Load) -> None:
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


def test_rules_of_installed_packages_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_rule_with_a_missing_signal_is_a_problem(tmp_path: Path) -> None:
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
