"""Run rules' test cases, which are YAML files beside the rules.

A file names its rule, may define a ``base`` event that each case changes, and lists cases::

    rule: Okta.Anonymizing.VPN.Login
    base:
      eventType: user.session.start
      securityContext: {isProxy: true}
    cases:
      - name: a sign-in through a proxy
        expect: {match: true, severity: MEDIUM}
      - name: no isProxy
        without: [securityContext.isProxy]
        expect: {match: false}
      - name: an alert lasts for its dedup period
        events:
          - {}
          - after: 6h1m
            event: {outcome: {result: SUCCESS}}
        expect: {match: [1, 2], alerts: [1, 1]}

``event`` is merged into the base, object by object. ``without`` then removes keys. A case's own ``base`` is merged into
the file's base for all events of the case. Events arrive in the order in which they are listed. ``after`` is an event's
time since the start of the case: an event with a smaller ``after`` than its predecessor arrives late. ``times: 21``
with ``every: 20s`` produces 21 events, 20 seconds apart; ``{n}`` in their strings is 1 to 21. ``options`` are the rule's
options, as in the configuration. ``files`` maps the file names in the options to the files' contents.

In ``expect``, ``match`` is true, false or the numbers of the matching events, counted from 1. ``alerts`` is the
number of matches in each alert that has reached its threshold, the alert with the earliest anchor first. ``severity`` is
the highest of all matches; ``title``, ``context`` and ``dedup_key`` are those of the first match. Anything that
``expect`` does not mention is not checked.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta, Struct, field

from oktawatch.detection.grouping import Grouping
from oktawatch.detection.history import MemoryHistory
from oktawatch.detection.options import RuleOptionError
from oktawatch.detection.registry import BUILT_IN, RuleSet, RuleSettings, configured_rules, matches_of
from oktawatch.detection.rule import Rule
from oktawatch.model.alert import Alert, AlertStatus
from oktawatch.model.durations import parse_duration
from oktawatch.model.event import Event, UnusableEventError
from oktawatch.model.match import Match, MatchKey
from oktawatch.model.timestamps import to_text

START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
"""The start of a case, from which ``after`` counts."""

_BUILT_IN_CASES = Path(__file__).with_name("rules")
_DURATION_PARTS = re.compile(r"\d+[a-z]")


class RuleTestError(ValueError):
    """A test case file is invalid. The message is one line with the file and the problem."""


class RuleTestResult(Struct, frozen=True):
    """The result of one test case."""

    path: str
    rule_id: str
    name: str
    problems: tuple[str, ...]
    """One sentence for each difference between the expected and the actual result. Empty if the case passed."""

    @property
    def passed(self) -> bool:
        """Whether there is no difference."""
        return not self.problems


class _Step(Struct, forbid_unknown_fields=True):
    event: dict[str, Any] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)
    after: str = "0s"
    times: Annotated[int, Meta(ge=1, le=1000)] = 1
    every: str = "0s"


class _Expect(Struct, forbid_unknown_fields=True):
    match: bool | list[int] | None = None
    severity: Literal["INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL"] | None = None
    title: str | None = None
    context: dict[str, Any] | None = None
    dedup_key: list[str] | None = None
    alerts: list[int] | None = None


class _Case(Struct, forbid_unknown_fields=True):
    name: str
    expect: _Expect
    event: dict[str, Any] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)
    events: list[_Step] = field(default_factory=list)
    base: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


class _CaseFile(Struct, forbid_unknown_fields=True):
    rule: str
    cases: Annotated[list[_Case], Meta(min_length=1)]
    base: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def run_rule_tests(
    paths: Iterable[Path] = (), *, rules: Iterable[type[Rule]] = BUILT_IN
) -> list[RuleTestResult]:
    """Run the cases in these files and in all YAML files below these folders. Without paths, run the built-in cases.

    Raises RuleTestError for a file that can't be read or is invalid.
    """
    known = {rule.id: rule for rule in rules}
    results = []
    for path in _files(paths):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise RuleTestError(f"{path}: can't read it: {reason}") from None
        results += run_text(text, known, path=str(path))
    return results


def run_text(text: str, known: Mapping[str, type[Rule]], *, path: str) -> list[RuleTestResult]:
    """Run the cases in the text of one file. Errors and results refer to it as ``path``."""
    case_file = _parse(text, path)
    if case_file.rule not in known:
        raise RuleTestError(f"{path}: rule: no rule {case_file.rule!r}; there are: {', '.join(known)}")
    results = []
    for number, case in enumerate(case_file.cases, start=1):
        try:
            problems = _run(case, case_file, known)
        except (ValueError, RecursionError) as error:
            raise RuleTestError(f"{path}, case {number} ({case.name}): {error}") from None
        except OverflowError:
            raise RuleTestError(
                f"{path}, case {number} ({case.name}): after, every: expected times before the year 10000"
            ) from None
        results.append(RuleTestResult(path, case_file.rule, case.name, tuple(problems)))
    return results


def _files(paths: Iterable[Path]) -> list[Path]:
    files = []
    for path in list(paths) or [_BUILT_IN_CASES]:
        files_of_path = (
            sorted(file for file in path.rglob("*") if file.suffix in {".yaml", ".yml"})
            if path.is_dir()
            else [path]
        )
        if not files_of_path:
            raise RuleTestError(f"{path}: no YAML file in this folder")
        files += files_of_path
    return files


def _parse(text: str, path: str) -> _CaseFile:
    try:
        document = _to_json_types(yaml.safe_load(text))
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RuleTestError(f"{path}{line}: invalid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RuleTestError(f"{path}: invalid YAML: {str(error).splitlines()[0]}") from None
    try:
        return msgspec.convert(document, _CaseFile)
    except msgspec.ValidationError as error:
        raise RuleTestError(f"{path}{_describe(error, document)}") from None


def _describe(error: msgspec.ValidationError, document: Any) -> str:
    problem, _, location = str(error).replace("`", "").partition(" - at ")
    in_case = re.match(r"\$\.cases\[(\d+)\]\.?", location)
    if not in_case:
        return f"{location.replace('$.', ': ').replace('$', '')}: {problem}"
    number = int(in_case[1])
    case = document["cases"][number]
    name = f" ({case['name']})" if isinstance(case, dict) and "name" in case else ""
    key = f" {location[in_case.end() :]}:" if location[in_case.end() :] else ""
    return f", case {number + 1}{name}:{key} {problem}"


def _to_json_types(value: Any) -> Any:
    """Convert parsed YAML to JSON types: keys to strings, and dates to text."""
    if isinstance(value, dict):
        return {str(key): _to_json_types(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_json_types(item) for item in value]
    if isinstance(value, datetime):
        return to_text(value if value.tzinfo else value.replace(tzinfo=UTC))
    return value.isoformat() if isinstance(value, date) else value


def _run(case: _Case, case_file: _CaseFile, known: Mapping[str, type[Rule]]) -> list[str]:
    if case.expect == _Expect():
        raise ValueError("expect: it is empty")
    if case.events and (case.event or case.without):
        raise ValueError("use either events, or event and without")
    steps = [
        repetition
        for step in case.events or [_Step(case.event, case.without)]
        for repetition in _repeat(step)
    ]
    base = _merged(case_file.base, case.base)
    events = [_event(base, step, number) for number, step in enumerate(steps, start=1)]
    rules = RuleSet([_rule(case_file.rule, known, case.options, case_file.files)])
    failures: list[str] = []
    matches = _matches(rules, events, failures)
    return failures + _differences(case.expect, events, matches, _alerts(rules, matches))


def _repeat(step: _Step) -> Iterator[_Step]:
    if step.times == 1:
        yield step
        return
    for number in range(step.times):
        after = _offset(step.after, "after") + number * _offset(step.every, "every")
        event = _numbered(step.event, str(number + 1))
        yield _Step(event, step.without, f"{int(after.total_seconds())}s")


def _numbered(value: Any, number: str) -> Any:
    if isinstance(value, dict):
        return {key: _numbered(item, number) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbered(item, number) for item in value]
    return value.replace("{n}", number) if isinstance(value, str) else value


def _matches(rules: RuleSet, events: Sequence[Event], failures: list[str]) -> list[Match]:
    """Process the events one at a time, as if each were a page; return each match once."""
    history = MemoryHistory()
    matches: dict[MatchKey, Match] = {}
    for event in events:
        rows = rules.history_rows([event])
        report = lambda _, uuid, error: failures.append(f"the rule raised {error!r} at {uuid}")  # noqa: E731 -- a callback
        for rule in rules.rules:
            for match in matches_of(rule, [event], rows, history, report):
                matches.setdefault(match.key, match)
        history.add(rows)
    return list(matches.values())


def _rule(
    rule_id: str, known: Mapping[str, type[Rule]], options: Mapping[str, Any], files: Mapping[str, str]
) -> Rule:
    def read_file(name: str) -> str:
        if name not in files:
            raise FileNotFoundError(2, "no such name under files")
        return files[name]

    settings = {rule_id: RuleSettings(options=options)}
    try:
        return configured_rules(settings, read_file=read_file, classes=known.values())[rule_id]
    except RuleOptionError as error:
        key = "" if error.key is None else f"{error.key}: "
        raise ValueError(f"options: {key}{error}") from None


def _event(base: Mapping[str, Any], step: _Step, number: int) -> Event:
    body = {"uuid": f"event-{number:04d}", "published": to_text(START + _offset(step.after, "after"))}
    body = _merged(_merged(body, base), step.event)
    for dotted in step.without:
        _remove(body, dotted)
    try:
        return Event.from_body(body)
    except UnusableEventError as error:
        raise ValueError(f"event {number}: {error}") from None


def _offset(text: str, key: str) -> timedelta:
    parts = _DURATION_PARTS.findall(text)
    if not parts or "".join(parts) != text:
        raise ValueError(f"{key}: expected a duration such as 90s or 5h59m, not {text!r}")
    return sum((parse_duration(part) for part in parts), timedelta())


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        before = result.get(key)
        result[key] = (
            _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
        )
    return result


def _remove(body: dict[str, Any], dotted: str) -> None:
    """Delete a key. Copy the objects that contain the key first, because cases share the base."""
    *parents, last = dotted.split(".")
    parent: Any = body
    for key in parents:
        value = parent.get(key)
        parent[key] = dict(value) if isinstance(value, dict) else {}
        parent = parent[key]
    if last not in parent:
        raise ValueError(f"without: the event has no {dotted}")
    del parent[last]


def _alerts(rules: RuleSet, matches: Sequence[Match]) -> list[Alert]:
    grouping = Grouping(rules.policies, recorded={}, alerts=[], notify=False)
    for match in matches:
        grouping.add(match)
    visible = (alert for alert in grouping.opened if alert.status is not AlertStatus.PENDING)
    return sorted(visible, key=lambda alert: alert.anchor)


def _differences(
    expect: _Expect, events: Sequence[Event], matches: Sequence[Match], alerts: Sequence[Alert]
) -> list[str]:
    matched = {match.event_uuid for match in matches}
    numbers = [number for number, event in enumerate(events, start=1) if event.uuid in matched]
    problems = []

    def compare(name: str, expected: Any, actual: Any) -> None:
        if expected != actual:
            problems.append(f"{name}: expected {_shown(expected)}, got {_shown(actual)}")

    if expect.match is not None:
        compare("match", expect.match, numbers if isinstance(expect.match, list) else bool(numbers))
    if expect.alerts is not None:
        compare("alerts", expect.alerts, [alert.event_count for alert in alerts])
    needs_match = (expect.severity, expect.title, expect.context, expect.dedup_key)
    if any(part is not None for part in needs_match) and not matches:
        return problems or ["expected a match, got none"]
    if expect.severity is not None:
        compare("severity", expect.severity, str(max(match.severity for match in matches)))
    if expect.dedup_key is not None:
        compare("dedup_key", expect.dedup_key, msgspec.json.decode(matches[0].dedup_key))
    if expect.title is not None:
        compare("title", expect.title, matches[0].details().title)
    if expect.context is not None:
        problems.extend(_object_differences(expect.context, matches[0].details().context, "context"))
    return problems


def _object_differences(expected: Mapping[str, Any], actual: Mapping[str, Any], path: str) -> list[str]:
    """Describe the keys that are missing or have another value. Ignore keys that are not expected."""
    problems = []
    for key, value in expected.items():
        key_path = f"{path}.{key}"
        if key not in actual:
            problems.append(f"{key_path}: expected {_shown(value)}, got nothing")
        elif isinstance(value, dict) and value and isinstance(actual[key], dict):
            problems += _object_differences(value, actual[key], key_path)
        elif actual[key] != value:
            problems.append(f"{key_path}: expected {_shown(value)}, got {_shown(actual[key])}")
    return problems


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else msgspec.json.encode(value).decode()
