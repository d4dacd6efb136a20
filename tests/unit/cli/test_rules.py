"""`oktawatch rules` lists rules, and runs their test cases."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from oktawatch.detection.registry import BUILT_IN
from tests.support.documented import RULE_ID, RULE_WITH_SIGNAL_ID, write_example
from tests.unit.cli.conftest import Done

Call = Callable[..., Done]

R1 = "Okta.Anonymizing.VPN.Login"
CASES = f"""\
rule: {R1}
cases:
  - name: a proxy
    event: {{eventType: user.session.start, securityContext: {{isProxy: true}}}}
    expect: {{match: true}}
  - name: a wrong expectation
    event: {{eventType: user.session.start, securityContext: {{isProxy: false}}}}
    expect: {{match: true}}
"""


def test_list(call: Call) -> None:
    """Every rule is listed with its configured options."""
    rule, *others = call("rules", "list", "--json").json

    assert (rule["id"], rule["enabled"], rule["severity"]) == (R1, True, "MEDIUM")
    assert (rule["dedup_period"], rule["threshold"]) == ("90m", 1)
    assert others
    assert not any(other["enabled"] for other in others)
    assert R1 in call("rules", "list").out


def test_rules_without_a_configuration(folder: Path, call: Call) -> None:
    """Without a configuration, rules are listed, shown and tested with their defaults. A file given with --config must exist."""
    configured = call("rules", "show", "Okta.Multiple.Sessions").out
    (folder / "oktawatch.toml").unlink()

    listed = call("rules", "list", "--json")
    assert listed.code == 0
    assert listed.err == "There is no configuration: the defaults are shown.\n"
    rule, *_ = listed.json
    assert (rule["id"], rule["enabled"], rule["dedup_period"]) == (R1, True, "6h")
    assert call("rules", "show", "Okta.Multiple.Sessions").out == configured
    assert call("rules", "test").code == 0
    assert call("rules", "list", "--config", "missing.toml").code == 2
    assert "run 'oktawatch init'" in call("rules", "replay", "--since", "1h", "--rule", R1).err


def test_a_rule_that_is_off(folder: Path, call: Call) -> None:
    """A disabled rule is listed with its options."""
    path = folder / "oktawatch.toml"
    path.write_text(path.read_text("utf-8").replace("dedup_period", "enabled = false\ndedup_period"), "utf-8")

    rule, *_ = call("rules", "list", "--json").json

    assert (rule["enabled"], rule["dedup_period"]) == (False, "90m")


def test_the_signals_of_an_address_are_an_option(call: Call) -> None:
    """The anonymizer marks that a rule uses are printed as its option `signals`, not as metadata."""
    metadata, _, options = call("rules", "show", R1).out.partition("[rules.")
    assert "is_proxy" not in metadata
    assert 'signals = ["is_proxy", "tunnels", "ip_details", "associated_proxies"]' in options


def test_show(call: Call) -> None:
    """A rule is shown completely, and an unknown rule is a usage error that lists the known rules."""
    assert "runbook" in call("rules", "show", R1).out
    assert call("rules", "show", R1, "--json").json["mitre"] == ["TA0006:T1556"]
    refused = call("rules", "show", "No.Such")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith(f"error: no such rule (No.Such): there are: {R1}, Okta.Login.Success")


def test_the_shown_options_can_be_copied_into_the_configuration(folder: Path, call: Call) -> None:
    """The shown options of each rule are valid TOML that changes nothing."""
    before = call("rules", "list", "--json").json
    shown = [call("rules", "show", rule["id"]).out for rule in before]
    tables = "".join(f"[{text.partition(chr(10) + '[')[2]}" for text in shown)
    counting = [rule for rule in BUILT_IN if any(option.name == "at_least" for option in fields(rule))]
    assert len(re.findall(r"^at_least = ", tables, re.MULTILINE)) == len(counting) >= 3
    path = folder / "oktawatch.toml"
    path.write_text(tables + path.read_text("utf-8").partition("\n\n")[2], "utf-8")
    assert call("rules", "list", "--json").json == before
    for text in shown:
        assert not re.search(r"True|False|\(\)|None|\[\]", text), text


def test_the_rules_own_cases_pass(call: Call) -> None:
    """Without a path, the cases of the built-in rules run, and no configuration is needed."""
    done = call("rules", "test", "--config", "/nowhere")

    assert done.code == 0
    assert "FAILED" not in done.out
    assert done.err.endswith(" passed, 0 failed\n")


def test_a_failing_case(folder: Path, call: Call) -> None:
    """A failing case prints the expected and actual result and exits with 1."""
    (folder / "cases.yaml").write_text(CASES, "utf-8")

    done = call("rules", "test", "cases.yaml")
    result = call("rules", "test", "cases.yaml", "--json")

    assert (done.code, result.code) == (1, 1)
    assert done.err.splitlines() == [
        "cases.yaml: a wrong expectation: match: expected true, got false",
        "1 passed, 1 failed",
    ]
    assert [case["passed"] for case in result.json] == [True, False]


def test_the_schema(call: Call) -> None:
    """`db upgrade` creates the database and can be repeated, and `db current` prints the revision."""
    assert call("db", "upgrade").code == 0
    upgraded = call("db", "upgrade", "--json").json

    assert call("db", "current", "--json").json == upgraded
    assert call("db", "current").out.strip() == upgraded["revision"]


def own_rules(folder: Path) -> Path:
    """Configure a folder of custom rules with the documented rule. Return the rule's file."""
    with (folder / "oktawatch.toml").open("a", encoding="utf-8") as file:
        file.write('\n[detection]\nrules_dir = "rules"\nenable = ["Acme.*"]\n')
    return write_example(folder / "rules")


def test_the_documented_rule_is_listed(folder: Path, call: Call) -> None:
    """The rule in docs/rules.md works as documented."""
    file = own_rules(folder)
    *_, rule = call("rules", "list", "--json").json
    assert (rule["id"], rule["enabled"], rule["severity"]) == (RULE_ID, True, "HIGH")
    assert (rule["at_least"], rule["window"], rule["source"]) == (5, "10m", str(file))


@pytest.mark.parametrize(("rule_id", "cases"), [(RULE_ID, 3), (RULE_WITH_SIGNAL_ID, 4)])
def test_the_documented_cases_pass(folder: Path, call: Call, rule_id: str, cases: int) -> None:
    """The documented cases pass for the rule's file, the file of cases, and their folder."""
    file = write_example(folder / "rules", rule_id)
    for path in (file, file.with_suffix(".yaml"), file.parent):
        done = call("rules", "test", str(path), "--json")
        assert done.code == 0, done.err
        assert [(case["rule"], case["passed"]) for case in done.json] == [(rule_id, True)] * cases


def test_the_documented_cases_can_fail(folder: Path, call: Call) -> None:
    """The documented cases fail for a changed rule."""
    file = write_example(folder / "rules")
    file.write_text(file.read_text("utf-8").replace("at_least: int = 5", "at_least: int = 4"), "utf-8")
    done = call("rules", "test", str(file))
    assert done.code == 1
    assert done.err.endswith("0 passed, 3 failed\n")


def test_a_broken_custom_rule_is_reported(folder: Path, call: Call) -> None:
    """`rules list` and `rules test` report a broken rule, and the list has the other rules."""
    file = own_rules(folder)
    text = file.read_text("utf-8")
    file.write_text(text + "\nnonsense\n", "utf-8")
    problem = f"{file}, line {text.count(chr(10)) + 2}: NameError: name 'nonsense' is not defined"
    listed = call("rules", "list")
    assert (listed.code, listed.err) == (0, f"error: {problem}\n")
    assert R1 in listed.out
    tested = call("rules", "test", str(file.parent))
    assert (tested.code, tested.out, tested.err) == (1, "", f"error: {problem}\n")


def test_python_files_without_cases_are_not_run(folder: Path, call: Call) -> None:
    """A Python file in the folder is not run unless it has cases."""
    write_example(folder / "rules")
    (folder / "rules" / "setup.py").write_text("raise SystemExit('run')", "utf-8")
    assert call("rules", "test", str(folder / "rules")).code == 0


def test_a_character_that_the_terminal_lacks_is_escaped(folder: Path) -> None:
    """If the encoding of standard output lacks a character, it is escaped, and the rest is printed."""
    (folder / "mine.yaml").write_text(CASES.replace("a proxy", "un café"), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "oktawatch", "rules", "test", "mine.yaml"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )

    assert done.stderr.splitlines()[-1] == "1 passed, 1 failed"
    assert r"un caf\xe9" in done.stdout
