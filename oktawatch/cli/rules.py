"""``oktawatch rules``: list, show, test and replay the rules."""

import json
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oktawatch.cli import replay
from oktawatch.cli.exits import DONE, FAILED, UsageError
from oktawatch.cli.one_line_table import Column, print_one_line_table
from oktawatch.cli.options import ConfigFile, Debug, Json, UnusedConfigFile
from oktawatch.cli.output import note, print_fields, print_json, print_table
from oktawatch.cli.setup import load_without_secrets

if TYPE_CHECKING:
    from oktawatch.detection.rule import Rule
    from oktawatch.detection.rule_tests import RuleTestResult
    from oktawatch.engine.rulebook import Rulebook

_METADATA = (
    "id", "name", "kind", "description", "runbook", "false_positives", "mitre", "references", "event_types",
    "signals", "source",
)  # fmt: skip
"""The metadata of a rule, in the order of printing. In some rules, ``signals`` is an option instead."""

_COLUMNS = (
    Column(heading="ID"),
    Column(heading="STATE"),
    Column(heading="SEVERITY"),
    Column(heading="DEDUP"),
    Column(heading="THRESHOLD", right=True, optional=True),
    Column(heading="NAME", min_width=20),
)

app = typer.Typer(
    name="rules",
    help="Show and test the rules.",
    epilog="Example:  oktawatch rules list",
    no_args_is_help=True,
)


@app.command(name="list", epilog="Example:  oktawatch rules list --json")
def list_(config: ConfigFile = None, as_json: Json = False, debug: Debug = False) -> int:
    """List every rule with its options.

    Without a configuration, the defaults are listed.
    """
    rules = _described_rules(config, debug=debug)
    if as_json:
        print_json(rules)
        return DONE
    print_one_line_table(
        _COLUMNS,
        [
            (
                rule["id"],
                "on" if rule["enabled"] else "off",
                rule["severity"],
                rule["dedup_period"],
                rule["threshold"],
                rule["name"],
            )
            for rule in rules
        ],
    )
    return DONE


@app.command(epilog="Example:  oktawatch rules show Okta.Anonymizing.VPN.Login")
def show(
    rule_id: Annotated[str, typer.Argument(metavar="ID", help="The rule's id.")],
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Show a rule's description, runbook and options.

    The options are printed as TOML, ready to copy into the configuration. Without a configuration, the defaults
    are printed.
    """
    rules = _described_rules(config, debug=debug)
    rule = next((rule for rule in rules if rule["id"] == rule_id), None)
    if rule is None:
        known = ", ".join(rule["id"] for rule in rules)
        raise UsageError(f"no such rule ({rule_id}): there are: {known}")
    if as_json:
        print_json(rule)
    else:
        _print(rule)
    return DONE


@app.command(name="test", epilog="Example:  oktawatch rules test my-cases.yaml")
def cases(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH...",
            help="YAML files with test cases, Python files with rules, or folders of them. "
            "Default: the built-in test cases.",
            show_default=False,
        ),
    ] = None,
    _config: UnusedConfigFile = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> int:
    """Run the rules' test cases. Exit 1 if one fails.

    A YAML file names its rule and lists cases, each with events and the expected result. Put your own rule
    into a Python file of the same name beside it.
    """
    from oktawatch.detection.registry import BUILT_IN
    from oktawatch.detection.rule_tests import RuleTestError, run_rule_tests
    from oktawatch.engine.loading import cases_and_rules, load_files

    case_files, rule_files = cases_and_rules(paths or ())
    loaded = load_files(BUILT_IN, rule_files)
    if loaded.problems:
        for load_problem in loaded.problems:
            note(f"error: {load_problem}")
        return FAILED
    try:
        results = run_rule_tests(case_files, rules=loaded.rules.values())
    except RuleTestError as error:
        raise UsageError(str(error)) from None
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


def _described_rules(config: Path | None, *, debug: bool) -> list[dict[str, Any]]:
    """Describe every rule as a JSON object with its configured options. Without a configuration, use the defaults."""
    from oktawatch.config.errors import MissingConfigError
    from oktawatch.engine.rulebook import default_rulebook
    from oktawatch.service.app import Application

    try:
        app = Application(load_without_secrets(config, debug=debug))
    except MissingConfigError:
        note("There is no configuration: the defaults are shown.")
        return _descriptions(default_rulebook(), lambda _: {})
    for problem in app.rulebook.found.problems:
        note(f"error: {problem}")
    return _descriptions(app.rulebook, app.options)


def _descriptions(rulebook: "Rulebook", options: Callable[[str], dict[str, Any]]) -> list[dict[str, Any]]:
    enabled = {rule.id for rule in rulebook.rules.rules}
    return [
        {
            "id": rule.id,
            "name": rule.name,
            "enabled": rule.id in enabled,
            **_options(type(rule), options(rule.id)),
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
    metadata = rule | {"kind": "signal: recorded without an alert" if rule["signal"] else "alert"}
    print_fields(
        (name.replace("_", " "), ", ".join(value) if isinstance(value, list) else value)
        for name in _METADATA
        if (value := metadata[name]) and name not in options
    )
    print(f'\n[rules."{rule["id"]}"]')
    for name in options:
        print(f"{name} = {json.dumps(rule[name], ensure_ascii=False)}")


def _options(rule: "type[Rule]", configured: dict[str, Any]) -> dict[str, Any]:
    """Return a rule's current options. The value of a file option is its path."""
    return {
        option.name: _option_value(configured.get(option.name, option.default)) for option in fields(rule)
    }


def _option_value(value: Any) -> str | int | list[Any]:
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
