"""Test cases in YAML: those of the built-in rules, and the errors for invalid files."""

from pathlib import Path
from textwrap import dedent

import pytest

from oktawatch.detection.registry import BUILT_IN
from oktawatch.detection.rule_tests import RuleTestError, RuleTestResult, run_rule_tests

HEAD = """\
rule: Okta.Anonymizing.VPN.Login
base: {eventType: user.session.start, securityContext: {isProxy: true}, client: {ipAddress: 203.0.113.7}}
"""


def problems(folder: Path, case: str) -> tuple[str, ...]:
    """Run one case and return its problems."""
    (result,) = run_rule_tests([written(folder, f"{HEAD}cases: [{{name: one, {case}}}]\n")])
    return result.problems


def written(folder: Path, text: str) -> Path:
    """Write a file of cases."""
    path = folder / "rule.yaml"
    path.write_text(dedent(text), encoding="utf-8")
    return path


RESULTS = run_rule_tests()


@pytest.mark.parametrize("result", RESULTS, ids=[f"{result.rule_id}: {result.name}" for result in RESULTS])
def test_the_built_in_rules_pass_their_cases(result: RuleTestResult) -> None:
    """Each built-in rule passes its test cases."""
    assert result.problems == ()


def test_every_built_in_rule_has_cases() -> None:
    """Each built-in rule has a file of test cases."""
    assert {result.rule_id for result in RESULTS} == {rule.id for rule in BUILT_IN}


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        ("expect: {match: false}", "match: expected false, got true"),
        ("expect: {match: [2]}", "match: expected [2], got [1]"),
        ("expect: {alerts: [2]}", "alerts: expected [2], got [1]"),
        ("expect: {severity: INFO}", "severity: expected INFO, got MEDIUM"),
        ("expect: {dedup_key: ['x']}", 'dedup_key: expected ["x"], got ["","203.0.113.7"]'),
        ("expect: {context: {ips: []}}", 'context.ips: expected [], got ["203.0.113.7"]'),
        ("expect: {context: {client: {zone: a}}}", "context.client.zone: expected a, got nothing"),
        ("expect: {context: {client: {}}}", 'context.client: expected {}, got {"ipAddress":"203.0.113.7"}'),
        ("event: {eventType: x}, expect: {severity: INFO}", "expected a match, got none"),
    ],
)
def test_a_failed_case_names_the_expected_and_the_actual_value(
    tmp_path: Path, case: str, problem: str
) -> None:
    """Each difference is one sentence with the expected and the actual value."""
    assert problems(tmp_path, case) == (problem,)


def test_a_title_that_differs_is_shown(tmp_path: Path) -> None:
    """A different title is shown in full, so that it can be copied into the case."""
    (problem,) = problems(tmp_path, "expect: {title: x}")
    assert problem.startswith(
        "title: expected x, got <displayName-not-found> <alternateId-not-found> tried to"
    )


def test_cases_do_not_change_the_base_that_they_share(tmp_path: Path) -> None:
    """A case does not change the base that it shares with other cases."""
    text = """\
        cases:
          - {name: without, without: [securityContext.isProxy], expect: {match: false}}
          - {name: changed, event: {securityContext: {isProxy: null}}, expect: {match: false}}
          - {name: plain, expect: {match: true}}
        """
    results = run_rule_tests([written(tmp_path, HEAD + dedent(text))])
    assert [result.passed for result in results] == [True, True, True]


def test_yaml_dates_are_converted_to_text(tmp_path: Path) -> None:
    """An event's time need not be quoted."""
    case = "events: [{event: {published: 2026-11-01T08:00:00Z}}, {event: {published: 2026-11-01}}]"
    assert problems(tmp_path, f"{case}, expect: {{match: [1, 2], alerts: [1, 1]}}") == ()


def test_a_folder_is_searched_for_files_of_cases(tmp_path: Path) -> None:
    """Files with both endings are found at any depth."""
    (tmp_path / "deep").mkdir()
    for name in ("b.yaml", "deep/a.yml", "c.txt"):
        (tmp_path / name).write_text(
            f"{HEAD}cases: [{{name: {name}, expect: {{match: true}}}}]\n", encoding="utf-8"
        )
    assert [result.name for result in run_rule_tests([tmp_path])] == ["b.yaml", "deep/a.yml"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rule: [\n", "rule.yaml, line 2: invalid YAML: "),
        ("\x07", "rule.yaml: invalid YAML: "),
        ("a: " + "[" * 5000, "rule.yaml: invalid YAML: "),
        ("", "rule.yaml: Expected object, got null"),
        (
            "rule: Nope\ncases: [{name: a, expect: {match: true}}]",
            "rule.yaml: rule: no rule 'Nope'; there are: Okta.",
        ),
        (HEAD, "rule.yaml: Object missing required field cases"),
        (HEAD + "cases: []", "rule.yaml: cases: Expected array of length >= 1"),
        (HEAD + "bases: {}\ncases: []", "rule.yaml: Object contains unknown field bases"),
        (HEAD + "cases: [{name: a}]", "rule.yaml, case 1 (a): Object missing required field expect"),
        (HEAD + "cases: [7]", "rule.yaml, case 1: Expected object, got int"),
        (
            HEAD + "cases: [{name: a, expect: {matches: true}}]",
            "rule.yaml, case 1 (a): expect: Object contains unknown field matches",
        ),
        (
            HEAD + "cases: [{name: a, expect: {severity: urgent}}]",
            "rule.yaml, case 1 (a): expect.severity: Invalid enum value 'urgent'",
        ),
        (HEAD + "cases: [{name: a, expect: {}}]", "rule.yaml, case 1 (a): expect: it is empty"),
        (
            HEAD + "cases: [{name: a, event: {a: 1}, events: [{}], expect: {match: true}}]",
            "rule.yaml, case 1 (a): use either events, or event and without",
        ),
        (
            HEAD + "cases: [{name: a, events: [{after: soon}], expect: {match: true}}]",
            "rule.yaml, case 1 (a): after: expected a duration such as 90s or 5h59m, not 'soon'",
        ),
        (
            HEAD + "cases: [{name: a, events: [{times: 2, every: soon}], expect: {match: true}}]",
            "rule.yaml, case 1 (a): every: expected a duration such as 90s or 5h59m, not 'soon'",
        ),
        (
            HEAD + "cases: [{name: a, without: [client.ip], events: [{}], expect: {match: true}}]",
            "rule.yaml, case 1 (a): use either events, or event and without",
        ),
        (
            HEAD + "cases: [{name: a, events: [{after: 9999999d}], expect: {match: true}}]",
            "rule.yaml, case 1 (a): after, every: expected times before the year 10000",
        ),
        (
            HEAD + "cases: [{name: a, without: [client.zone], expect: {match: true}}]",
            "rule.yaml, case 1 (a): without: the event has no client.zone",
        ),
        (
            HEAD + "cases: [{name: a, event: {uuid: ''}, expect: {match: true}}]",
            "rule.yaml, case 1 (a): event 1: no usable uuid",
        ),
        (
            HEAD + "cases: [{name: a, options: {threshold: 0}, expect: {match: true}}]",
            "rule.yaml, case 1 (a): options: threshold: expected a whole number of at least 1",
        ),
        (
            HEAD + "cases: [{name: a, options: {relay_networks: x.csv}, expect: {match: true}}]",
            "rule.yaml, case 1 (a): options: relay_networks: can't read x.csv: no such name under files",
        ),
    ],
)
def test_an_invalid_file_is_named_with_the_place(tmp_path: Path, text: str, problem: str) -> None:
    """The error is one line with the file, the line or case, and the problem."""
    with pytest.raises(RuleTestError) as caught:
        run_rule_tests([written(tmp_path, text)])
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/{problem}")
    assert "\n" not in message


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    """The error names a missing file, a file that is not text, or a folder without files."""
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xfa")
    (tmp_path / "empty").mkdir()
    for name, problem in {
        "none.yaml": "can't read it: No such file or directory",
        "binary.yaml": "can't read it: it is not UTF-8 text",
        "empty": "no YAML file in this folder",
    }.items():
        with pytest.raises(RuleTestError, match=problem):
            run_rule_tests([tmp_path / name])
