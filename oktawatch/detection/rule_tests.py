"""Test cases for rules, written in YAML beside them, and what came of them.

A file names its rule, may have a ``base`` event that each case changes, and lists cases::

    rule: Okta.Anonymizing.VPN.Login
    base:
      eventType: user.session.start
      securityContext: {isProxy: true}
    cases:
      - name: a sign-in through a proxy
        expect: {match: true, severity: MEDIUM}
      - name: an address that Okta says nothing about
        without: [securityContext.isProxy]
        expect: {match: false}
      - name: an alert lasts for its dedup period
        events:
          - {}
          - after: 6h1m
            event: {outcome: {result: SUCCESS}}
        expect: {match: [1, 2], alerts: [1, 1]}

``event`` is merged into the base, object by object; ``without`` then takes keys away; a case's own
``base`` changes the file's for all its events. Events come in
the order in which they are written, ``after`` is their time (a later one with a smaller ``after``
came late); ``times: 21`` with ``every: 20s`` stands for 21 of them, with ``{n}`` for the number in their
texts. ``options`` are the rule's, as in the configuration; a file that they name is looked up in
the text of ``files``. What ``expect`` does not name may be anything.
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
"""When a case's events happen, unless they say so themselves."""

_BESIDE_THE_RULES = Path(__file__).with_name("rules")
_DURATION_PARTS = re.compile(r"\d+[a-z]")


class RuleTestError(ValueError):
    """A file of cases can't be used. The message is one line: the file, the case, what is expected."""


class RuleTestResult(Struct, frozen=True):
    """What came of one case."""

    path: str
    rule_id: str
    name: str
    problems: tuple[str, ...]
    """What was expected and what came, one sentence each; none when the case passed."""

    @property
    def passed(self) -> bool:
        """Whether everything came as expected."""
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
    """Run the cases in these files, and in the YAML files below these folders; with none, the built-in ones.

    Raises RuleTestError for a file that can't be read or makes no sense.
    """
    known = {rule.id: rule for rule in rules}
    results = []
    for path in _files(paths):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            raise RuleTestError(f"{path}: can't read it: {reason}") from None
        results += run_text(text, known, path=str(path))
    return results


def run_text(text: str, known: Mapping[str, type[Rule]], *, path: str) -> list[RuleTestResult]:
    """Run the cases in one file's text; ``path`` is what its errors and results call it."""
    found = _parsed(text, path)
    if found.rule not in known:
        raise RuleTestError(f"{path}: rule: no rule {found.rule!r}; there are: {', '.join(known)}")
    results = []
    for number, case in enumerate(found.cases, start=1):
        try:
            problems = _run(case, found, known)
        except (ValueError, RecursionError) as error:
            raise RuleTestError(f"{path}, case {number} ({case.name}): {error}") from None
        except OverflowError:
            raise RuleTestError(
                f"{path}, case {number} ({case.name}): after, every: expected times before the year 10000"
            ) from None
        results.append(RuleTestResult(path, found.rule, case.name, tuple(problems)))
    return results


def _files(paths: Iterable[Path]) -> list[Path]:
    found = []
    for path in list(paths) or [_BESIDE_THE_RULES]:
        below = (
            sorted(one for one in path.rglob("*") if one.suffix in {".yaml", ".yml"})
            if path.is_dir()
            else [path]
        )
        if not below:
            raise RuleTestError(f"{path}: no YAML file in this folder")
        found += below
    return found


def _parsed(text: str, path: str) -> _CaseFile:
    try:
        document = _plain(yaml.safe_load(text))
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RuleTestError(f"{path}{line}: no valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RuleTestError(f"{path}: no valid YAML: {str(error).splitlines()[0]}") from None
    try:
        return msgspec.convert(document, _CaseFile)
    except msgspec.ValidationError as error:
        raise RuleTestError(f"{path}{_complaint(error, document)}") from None


def _complaint(error: msgspec.ValidationError, document: Any) -> str:
    problem, _, place = str(error).replace("`", "").partition(" - at ")
    found = re.match(r"\$\.cases\[(\d+)\]\.?", place)
    if not found:
        return f"{place.replace('$.', ': ').replace('$', '')}: {problem}"
    number = int(found[1])
    case = document["cases"][number]
    name = f" ({case['name']})" if isinstance(case, dict) and "name" in case else ""
    key = f" {place[found.end() :]}:" if place[found.end() :] else ""
    return f", case {number + 1}{name}:{key} {problem}"


def _plain(value: Any) -> Any:
    """Give what YAML read as JSON could hold it: YAML makes dates of what looks like one."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return to_text(value if value.tzinfo else value.replace(tzinfo=UTC))
    return value.isoformat() if isinstance(value, date) else value


def _run(case: _Case, found: _CaseFile, known: Mapping[str, type[Rule]]) -> list[str]:
    if case.expect == _Expect():
        raise ValueError("expect: it names nothing")
    if case.events and (case.event or case.without):
        raise ValueError("give either event or events")
    steps = [one for step in case.events or [_Step(case.event, case.without)] for one in _repeated(step)]
    base = _merged(found.base, case.base)
    events = [_event(base, step, number) for number, step in enumerate(steps, start=1)]
    rules = RuleSet([_rule(found.rule, known, case.options, found.files)])
    failures: list[str] = []
    matches = _matches(rules, events, failures)
    return failures + _differences(case.expect, events, matches, _alerts(rules, matches))


def _repeated(step: _Step) -> Iterator[_Step]:
    if step.times == 1:
        yield step
        return
    for number in range(step.times):
        after = _offset(step.after) + number * _offset(step.every)
        event = _numbered(step.event, str(number + 1))
        yield _Step(event, step.without, f"{int(after.total_seconds())}s")


def _numbered(value: Any, number: str) -> Any:
    if isinstance(value, dict):
        return {key: _numbered(item, number) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbered(item, number) for item in value]
    return value.replace("{n}", number) if isinstance(value, str) else value


def _matches(rules: RuleSet, events: Sequence[Event], failures: list[str]) -> list[Match]:
    """Process the events one at a time, as they arrive in life; return each match once."""
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

    said = {rule_id: RuleSettings(options=options)}
    try:
        return configured_rules(said, read_file=read_file, classes=known.values())[rule_id]
    except RuleOptionError as error:
        raise ValueError(f"options: {error.key}: {error}") from None


def _event(base: Mapping[str, Any], step: _Step, number: int) -> Event:
    body = {"uuid": f"event-{number:04d}", "published": to_text(START + _offset(step.after))}
    body = _merged(_merged(body, base), step.event)
    for dotted in step.without:
        _remove(body, dotted)
    try:
        return Event.from_body(body)
    except UnusableEventError as error:
        raise ValueError(f"event {number}: {error}") from None


def _offset(text: str) -> timedelta:
    parts = _DURATION_PARTS.findall(text)
    if not parts or "".join(parts) != text:
        raise ValueError(f"after: expected a duration such as 90s or 5h59m, not {text!r}")
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
    """Take one key away; the objects on the way to it are copied, since cases share the base."""
    *way, last = dotted.split(".")
    place: Any = body
    for key in way:
        found = place.get(key)
        place[key] = dict(found) if isinstance(found, dict) else {}
        place = place[key]
    if last not in place:
        raise ValueError(f"without: the event has no {dotted}")
    del place[last]


def _alerts(rules: RuleSet, matches: Sequence[Match]) -> list[Alert]:
    grouping = Grouping(rules.policies, recorded={}, alerts=[], telling=False)
    for match in matches:
        grouping.take(match)
    visible = (alert for alert in grouping.opened if alert.status is not AlertStatus.PENDING)
    return sorted(visible, key=lambda alert: alert.anchor)


def _differences(
    expect: _Expect, events: Sequence[Event], matches: Sequence[Match], alerts: Sequence[Alert]
) -> list[str]:
    matched = {match.event_uuid for match in matches}
    numbers = [number for number, event in enumerate(events, start=1) if event.uuid in matched]
    problems = []

    def compare(what: str, expected: Any, came: Any) -> None:
        if expected != came:
            problems.append(f"{what}: expected {_shown(expected)}, came {_shown(came)}")

    if expect.match is not None:
        compare("match", expect.match, numbers if isinstance(expect.match, list) else bool(numbers))
    if expect.alerts is not None:
        compare("alerts", expect.alerts, [alert.event_count for alert in alerts])
    of_a_match = (expect.severity, expect.title, expect.context, expect.dedup_key)
    if any(part is not None for part in of_a_match) and not matches:
        return problems or ["expected a match, came none"]
    if expect.severity is not None:
        compare("severity", expect.severity, str(max(match.severity for match in matches)))
    if expect.dedup_key is not None:
        compare("dedup_key", expect.dedup_key, msgspec.json.decode(matches[0].dedup_key))
    if expect.title is not None:
        compare("title", expect.title, matches[0].details().title)
    if expect.context is not None:
        problems.extend(_missing(expect.context, matches[0].details().context, "context"))
    return problems


def _missing(expected: Mapping[str, Any], came: Mapping[str, Any], place: str) -> list[str]:
    """Say where an object lacks what is expected of it; keys that nobody expects are fine."""
    problems = []
    for key, value in expected.items():
        here = f"{place}.{key}"
        if key not in came:
            problems.append(f"{here}: expected {_shown(value)}, came nothing")
        elif isinstance(value, dict) and value and isinstance(came[key], dict):
            problems += _missing(value, came[key], here)
        elif came[key] != value:
            problems.append(f"{here}: expected {_shown(value)}, came {_shown(came[key])}")
    return problems


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else msgspec.json.encode(value).decode()
