"""Explain why a rule matches an event or not: list the rule's conditions, up to the first unmet one.

The explanation calls the same predicates as the processing of a page. The text of a condition is the first line of the
predicate's docstring, so custom rules are explained like built-in ones.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from oktawatch.detection.event_types import type_test
from oktawatch.detection.evidence_severity import GradedSeverity
from oktawatch.detection.first_seen import FirstSeen
from oktawatch.detection.past_rule import HasPasts, PastRule
from oktawatch.detection.rule import EventRule, Key, Rule
from oktawatch.detection.windows import (
    CountInWindow,
    DistinctInWindow,
    HistoryRule,
    PairInWindow,
    SequenceInWindow,
    WindowRule,
)
from oktawatch.model.durations import format_duration
from oktawatch.model.history import Column, HistoryRow, SeenQuery, TimeRange
from oktawatch.model.timestamps import shifted

_MAX_LISTED_TYPES = 5


class HistoryQueries(HasPasts, Protocol):
    """The methods of `History` that an explanation needs."""

    def rows(self, column: Column, ranges: Sequence[TimeRange]) -> Iterable[HistoryRow]:
        """See `History`."""

    def seen(
        self,
        column: Column,
        queries: Sequence[SeenQuery],
        *,
        event_types: Sequence[str],
        conditions: Mapping[str, str | bool],
        any_true: Sequence[str] = (),
    ) -> list[bool]:
        """See `History`."""


class Condition(Struct, frozen=True):
    """A condition of a rule and whether an event meets it."""

    text: str
    holds: bool


def explain(rule: Rule, row: HistoryRow, history: HistoryQueries) -> list[Condition]:
    """Return a rule's conditions, up to the first one that the event doesn't meet. If all hold, the rule matches.

    ``row`` includes the complete event if it is available. ``history`` may contain this event and later ones.
    """
    conditions: list[Condition] = []
    try:
        for condition in _conditions(rule, row, history):
            conditions.append(condition)
            if not condition.holds:
                break
    except Exception as error:  # noqa: BLE001 -- a rule may raise anything
        conditions.append(Condition(f"The rule raised {type(error).__name__}: {error}", holds=False))
    return conditions


def explain_severity(rule: Rule, row: HistoryRow, history: HasPasts) -> GradedSeverity | None:
    """Return the severity that a `PastRule` gives a matching event today, with its reasons. None for any other rule."""
    return rule.graded_in(row, history) if isinstance(rule, PastRule) else None


def _conditions(rule: Rule, row: HistoryRow, history: HistoryQueries) -> Iterator[Condition]:
    types = rule.needed_types()
    listed = ", ".join(types[:_MAX_LISTED_TYPES])
    if len(types) > _MAX_LISTED_TYPES:
        listed += f" and {len(types) - _MAX_LISTED_TYPES} more"
    is_needed = type_test(types, ignore_case=isinstance(rule, HistoryRule) and rule.ignore_case)
    yield Condition(f"The event type is one of: {listed}", is_needed(row.event_type))
    match rule:
        case EventRule():
            event = row.full_event()
            yield Condition(rule.condition(event) or _description(rule.matches), rule.matches(event))
        case WindowRule():
            yield from _window_conditions(rule, row, history)
        case FirstSeen():
            yield from _first_seen_conditions(rule, row, history)


def _window_conditions(rule: WindowRule, row: HistoryRow, history: HistoryQueries) -> Iterator[Condition]:
    pair = ""
    if isinstance(rule, PairInWindow):
        pair = f" ({_clause(rule.first)}; or: {_clause(rule.second)})"
    yield Condition(_clause(rule.takes) + pair, rule.takes(row))
    key = rule.key(row)
    yield Condition(_key_description(rule, key), None not in key)
    window = _window(rule, row, key, history)
    period = format_duration(rule.window)
    match rule:
        case CountInWindow():
            text = f"At least {rule.at_least} matching events within {period}: found {len(window)}"
        case DistinctInWindow():
            count = len({rule.value(event) for event in window} - {None})
            text = f"At least {rule.at_least} different values within {period} ({_clause(rule.value)}): found {count}"
        case PairInWindow():
            yield Condition(f"Within {period}: {_description(rule.first)}", any(map(rule.first, window)))
            text = f"Within {period}: {_description(rule.second)}"
        case SequenceInWindow():
            yield Condition(_description(rule.follows), rule.follows(row))
            started = any(event.published < row.published and rule.starts(event) for event in window)
            yield Condition(f"Earlier, within {period}: {_description(rule.starts)}", started)
            text = f"Since then: {_description(rule.suspicious)}"
        case _:
            text = f"Within {period}: {_description(rule.holds)}"
    yield Condition(text, rule.holds(window))


def _window(rule: WindowRule, row: HistoryRow, key: Key, history: HistoryQueries) -> Sequence[HistoryRow]:
    """Return the window of an event as page processing builds it."""
    is_needed = type_test(rule.needed_types(), ignore_case=rule.ignore_case)
    since = shifted(row.published, -rule.window)
    time_range = TimeRange(since, row.published, frozenset({getattr(row, rule.column)}))
    position = (row.published, row.uuid)
    earlier = {
        (other.published, other.uuid): other
        for other in history.rows(rule.column, [time_range])
        if (other.published, other.uuid) < position
        and is_needed(other.event_type)
        and rule.takes(other)
        and rule.key(other) == key
    }
    return [*(earlier[position] for position in sorted(earlier)), row]


def _first_seen_conditions(rule: FirstSeen, row: HistoryRow, history: HistoryQueries) -> Iterator[Condition]:
    for column, value in rule.conditions.items():
        actual = getattr(row, column)
        yield Condition(f"{column} is {value}: it is {actual}", actual == value)
    if columns := rule.any_true():
        true_columns = [name for name in columns if getattr(row, name) is True]
        text = f"One of {', '.join(columns)} is true: {', '.join(true_columns) or 'none is'}"
        yield Condition(text, bool(true_columns))
    key: str | None = getattr(row, rule.column)
    if key is None:
        yield Condition(f"{rule.column} is known", holds=False)
        return
    yield Condition(f"{_clause(rule.counts)}: it is {key}", rule.counts(key))
    query = SeenQuery(key, shifted(row.published, -rule.window), row.published, row.uuid)
    (seen,) = history.seen(
        rule.column,
        [query],
        event_types=rule.needed_types(),
        conditions=rule.conditions,
        any_true=rule.any_true(),
    )
    yield Condition(f"No earlier matching event of {key} within {format_duration(rule.window)}", not seen)


def _description(predicate: Callable[..., Any]) -> str:
    """Return the first line of a predicate's docstring, or else the predicate's name."""
    text = inspect.getdoc(predicate)
    return text.splitlines()[0] if text else predicate.__name__


def _clause(predicate: Callable[..., Any]) -> str:
    """Return a predicate's description without its final period."""
    return _description(predicate).removesuffix(".")


def _key_description(rule: WindowRule, key: Key) -> str:
    values = ["unknown" if part is None else part for part in key]
    if type(rule).key is WindowRule.key:
        columns = rule.keyed_by or (rule.column,)
        return "The key is known: " + ", ".join(map(" is ".join, zip(columns, values, strict=True)))
    return f"The key is known ({_clause(rule.key)}): {', '.join(values)}"
