"""``oktawatch rules``: the detections, their metadata, their test cases."""

import json
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oktawatch.cli import replay
from oktawatch.cli.exits import DONE, FAILED, UsageError
from oktawatch.cli.options import ConfigFile, Debug, Json, UnusedConfigFile
from oktawatch.cli.output import note, print_fields, print_json, print_table
from oktawatch.cli.setup import load_without_secrets

if TYPE_CHECKING:
    from oktawatch.config import Settings
    from oktawatch.detection.rule import Rule
    from oktawatch.detection.rule_tests import RuleTestResult

_WHAT = (
    "id", "name", "kind", "description", "runbook", "false_positives", "mitre", "references", "event_types",
    "signals", "source",
)  # fmt: skip
"""A rule's metadata, which can't be changed. ``signals`` is an option of some rules."""

app = typer.Typer(
    name="rules",
    help="Look at the detections, and test them.",
    epilog="Example:  oktawatch rules list",
    no_args_is_help=True,
)


@app.command(name="list", epilog="Example:  oktawatch rules list --json")
def list_(config: ConfigFile = None, as_json: Json = False, debug: Debug = False) -> int:
    """List every rule, with the numbers that the configuration gives it."""
    rules = _rules(load_without_secrets(config, debug=debug))
    if as_json:
        print_json(rules)
        return DONE
    print_table(
        ("ID", "ENABLED", "SEVERITY", "DEDUP PERIOD", "THRESHOLD", "NAME"),
        [
            (
                rule["id"],
                "yes" if rule["enabled"] else "no",
                rule["severity"],
                rule["dedup_period"],
                rule["threshold"],
                rule["name"],
            )
            for rule in rules
        ],
        numbers=("THRESHOLD",),
        whole=("ID",),
    )
    return DONE


@app.command(epilog="Example:  oktawatch rules show Okta.Anonymizing.VPN.Login")
def show(
    rule_id: Annotated[str, typer.Argument(metavar="ID", help="The rule's id.")],
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Show what a rule looks for, what to do about its alerts, and its numbers.

    The numbers are shown as the configuration has them, to be copied there and changed.
    """
    rules = _rules(load_without_secrets(config, debug=debug))
    found = next((rule for rule in rules if rule["id"] == rule_id), None)
    if found is None:
        known = ", ".join(rule["id"] for rule in rules)
        raise UsageError(f"no such rule ({rule_id}): there are: {known}")
    if as_json:
        print_json(found)
    else:
        _print(found)
    return DONE


@app.command(name="test", epilog="Example:  oktawatch rules test my-cases.yaml")
def cases(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH...",
            help="YAML files of cases, rules' Python files, or folders of them. "
            "Default: the cases that come with the rules.",
            show_default=False,
        ),
    ] = None,
    _config: UnusedConfigFile = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> int:
    """Run rules against their test cases. Exit 1 when one fails.

    A file names its rule and lists cases, each an event and what is expected of it. A rule of one's own
    is found in the Python file of the same name beside it.
    """
    from oktawatch.detection.registry import BUILT_IN
    from oktawatch.detection.rule_tests import run_rule_tests
    from oktawatch.engine.loading import cases_and_rules, load_files

    cases_, files = cases_and_rules(paths or ())
    found = load_files(BUILT_IN, files)
    if found.problems:
        for unusable in found.problems:
            note(f"error: {unusable}")
        return FAILED
    results = run_rule_tests(cases_, rules=found.rules.values())
    failed = sum(not result.passed for result in results)
    if as_json:
        print_json([_result(result) for result in results])
    else:
        print_table(
            ("RESULT", "RULE", "CASE"),
            [("passed" if result.passed else "FAILED", result.rule_id, result.name) for result in results],
        )
        for result in results:
            for problem in result.problems:
                note(f"{result.path}: {result.name}: {problem}")
    note(f"{len(results) - failed} passed, {failed} failed")
    return FAILED if failed else DONE


app.command(epilog="Example:  oktawatch rules replay --since 30d --rule Okta.Multiple.Sessions")(
    replay.replay
)


def _rules(settings: "Settings") -> list[dict[str, Any]]:
    """Describe every rule as a JSON object."""
    from oktawatch.service.app import Application

    app = Application(settings)
    rulebook = app.rulebook
    for problem in rulebook.found.problems:
        note(f"error: {problem}")
    enabled = {rule.id for rule in rulebook.rules.rules}
    return [
        {
            "id": rule.id,
            "name": rule.name,
            "enabled": rule.id in enabled,
            **_numbers(type(rule), app.options(rule.id)),
            "signal": rule.signal,
            "signals": list(getattr(rule, "signals", ())),
            "mitre": list(rule.mitre),
            "event_types": list(rule.needed_types()),
            "description": rule.description,
            "runbook": rule.runbook,
            "false_positives": rule.false_positives,
            "references": list(rule.references),
            "source": rulebook.found.places[rule.id],
        }
        for rule in rulebook.every.values()
    ]


def _print(rule: dict[str, Any]) -> None:
    """Print a rule's metadata, then its options as a configuration table."""
    names = list(rule)
    options = names[names.index("enabled") : names.index("signal")]
    what = rule | {"kind": "signal: recorded, and told to nobody" if rule["signal"] else "alert"}
    print_fields(
        (name.replace("_", " "), ", ".join(what[name]) if isinstance(what[name], list) else what[name])
        for name in _WHAT
        if what[name] and name not in options
    )
    print(f'\n[rules."{rule["id"]}"]')
    for name in options:
        print(f"{name} = {json.dumps(rule[name], ensure_ascii=False)}")


def _numbers(rule: "type[Rule]", configured: dict[str, Any]) -> dict[str, Any]:
    """Return a rule's options as they are now; a file is given by its name."""
    return {option.name: _number(configured.get(option.name, option.default)) for option in fields(rule)}


def _number(value: Any) -> str | int | list[Any]:
    from oktawatch.detection.networks import Networks
    from oktawatch.model.durations import format_duration
    from oktawatch.model.severity import Severity

    match value:
        case timedelta():
            return format_duration(value)
        case Severity():
            return value.name
        case Networks():
            return ""
        case list() | tuple():
            return list(value)
        case _:
            return value if isinstance(value, int) else str(value)


def _result(result: "RuleTestResult") -> dict[str, Any]:
    return {
        "path": result.path,
        "rule": result.rule_id,
        "case": result.name,
        "passed": result.passed,
        "problems": list(result.problems),
    }
