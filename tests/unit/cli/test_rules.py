"""Looking at rules, and running their test cases."""

from collections.abc import Callable
from pathlib import Path

from tests.unit.cli.conftest import Done

Call = Callable[..., Done]

R1 = "Okta.Anonymizing.VPN.Login"
CASES = f"""\
rule: {R1}
cases:
  - name: a proxy
    event: {{eventType: user.session.start, securityContext: {{isProxy: true}}}}
    expect: {{match: true}}
  - name: a wrong hope
    event: {{eventType: user.session.start, securityContext: {{isProxy: false}}}}
    expect: {{match: true}}
"""


def test_list(call: Call) -> None:
    """Every rule is listed with the numbers that the configuration gives it."""
    rule, *others = call("rules", "list", "--json").json

    assert (rule["id"], rule["enabled"], rule["severity"]) == (R1, True, "MEDIUM")
    assert (rule["dedup_period"], rule["threshold"]) == ("90m", 1)
    assert others
    assert not any(other["enabled"] for other in others)
    assert R1 in call("rules", "list").out


def test_a_rule_that_is_off(folder: Path, call: Call) -> None:
    """A rule that was turned off is listed as such, with its numbers all the same."""
    path = folder / "oktawatch.toml"
    path.write_text(path.read_text("utf-8").replace("dedup_period", "enabled = false\ndedup_period"), "utf-8")

    rule, *_ = call("rules", "list", "--json").json

    assert (rule["enabled"], rule["dedup_period"]) == (False, "90m")


def test_show(call: Call) -> None:
    """One rule is shown whole; one that doesn't exist is wrong usage that names those that do."""
    assert "runbook" in call("rules", "show", R1).out
    assert call("rules", "show", R1, "--json").json["mitre"] == ["TA0006:T1556"]
    refused = call("rules", "show", "No.Such")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith(f"error: no such rule (No.Such): there are: {R1}, Okta.Login.Success")


def test_the_rules_own_cases_pass(call: Call) -> None:
    """Without a path the cases that come with the rules are run, and need no configuration."""
    done = call("rules", "test", "--config", "/nowhere")

    assert done.code == 0
    assert "FAILED" not in done.out
    assert done.err.endswith(" passed, 0 failed\n")


def test_a_failing_case(folder: Path, call: Call) -> None:
    """A case that fails is told with what was expected and what came, and exit 1."""
    (folder / "cases.yaml").write_text(CASES, "utf-8")

    done = call("rules", "test", "cases.yaml")
    result = call("rules", "test", "cases.yaml", "--json")

    assert (done.code, result.code) == (1, 1)
    assert done.err.splitlines() == [
        "cases.yaml: a wrong hope: match: expected true, came false",
        "1 passed, 1 failed",
    ]
    assert [case["passed"] for case in result.json] == [True, False]


def test_the_schema(call: Call) -> None:
    """`db upgrade` makes the database and may be run again; `db current` says where it stands."""
    assert call("db", "upgrade").code == 0
    upgraded = call("db", "upgrade", "--json").json

    assert call("db", "current", "--json").json == upgraded
    assert call("db", "current").out.strip() == upgraded["revision"]
