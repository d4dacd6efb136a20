"""Why a rule matches an event or does not: its conditions, one after the other, up to the one that fails.

Nothing is decided twice. The conditions are the rule's own predicates, called as they are when a page is
processed, and the first line of a predicate's docstring describes it. So an operator's rule explains itself.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from oktawatch.detection.event_types import type_test
from oktawatch.detection.first_seen import FirstSeen
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

_NAMED = 5  # event types in a line


class Past(Protocol):
    """The part of `History` that an explanation needs: it has no page and no cache."""

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
    """One condition of a match, and whether it holds."""

    text: str
    holds: bool


def explain(rule: Rule, row: HistoryRow, history: Past) -> list[Condition]:
    """Return the conditions of a rule for an event, up to the first that does not hold. All hold for a match.

    ``row``: the event, whole where it is available. ``history``: the history of its org, which may include
    the event itself and later ones.
    """
    found: list[Condition] = []
    try:
        for condition in _conditions(rule, row, history):
            found.append(condition)
            if not condition.holds:
                break
    except Exception as error:  # noqa: BLE001 -- a rule may raise anything
        found.append(Condition(f"the rule raised {type(error).__name__}: {error}", holds=False))
    return found


def _conditions(rule: Rule, row: HistoryRow, history: Past) -> Iterator[Condition]:
    types = rule.needed_types()
    named = ", ".join(types[:_NAMED]) + (f" and {len(types) - _NAMED} more" if len(types) > _NAMED else "")
    wanted = type_test(types, any_case=isinstance(rule, HistoryRule) and rule.any_case)
    yield Condition(f"the event type is one of: {named}", wanted(row.event_type))
    match rule:
        case EventRule():
            event = row.full_event()
            yield Condition(rule.condition(event) or _said(rule.matches), rule.matches(event))
        case WindowRule():
            yield from _window_conditions(rule, row, history)
        case FirstSeen():
            yield from _first_seen_conditions(rule, row, history)


def _window_conditions(rule: WindowRule, row: HistoryRow, history: Past) -> Iterator[Condition]:
    sorts = f" ({_named(rule.first)}; or: {_named(rule.second)})" if isinstance(rule, PairInWindow) else ""
    yield Condition(_said(rule.takes) + sorts, rule.takes(row))
    key = rule.key(row)
    yield Condition(_said_of_key(rule, key), None not in key)
    window = _window(rule, row, key, history)
    within = f"within {format_duration(rule.window)}"
    match rule:
        case CountInWindow():
            text = f"at least {rule.at_least} such events {within}: there are {len(window)}"
        case DistinctInWindow():
            count = len({rule.value(one) for one in window} - {None})
            text = f"at least {rule.at_least} different values {within} ({_named(rule.value)}): there are {count}"
        case PairInWindow():
            yield Condition(f"{within}: {_said(rule.first)}", any(map(rule.first, window)))
            text = f"{within}: {_said(rule.second)}"
        case SequenceInWindow():
            yield Condition(_said(rule.follows), rule.follows(row))
            started = any(one.published < row.published and rule.starts(one) for one in window)
            yield Condition(f"earlier {within}: {_said(rule.starts)}", started)
            text = f"since then: {_said(rule.suspicious)}"
        case _:
            text = f"{within}: {_said(rule.holds)}"
    yield Condition(text, rule.holds(window))


def _window(rule: WindowRule, row: HistoryRow, key: Key, history: Past) -> Sequence[HistoryRow]:
    """Return the event's window, as the rule sees it when a page is processed."""
    wanted = type_test(rule.needed_types(), any_case=rule.any_case)
    since = shifted(row.published, -rule.window)
    time_range = TimeRange(since, row.published, frozenset({getattr(row, rule.column)}))
    place = (row.published, row.uuid)
    before = {
        (one.published, one.uuid): one
        for one in history.rows(rule.column, [time_range])
        if (one.published, one.uuid) < place
        and wanted(one.event_type)
        and rule.takes(one)
        and rule.key(one) == key
    }
    return [*(before[place] for place in sorted(before)), row]


def _first_seen_conditions(rule: FirstSeen, row: HistoryRow, history: Past) -> Iterator[Condition]:
    for column, value in rule.conditions.items():
        yield Condition(f"{column} is {value}: it is {getattr(row, column)}", getattr(row, column) == value)
    if columns := rule.any_true():
        held = [name for name in columns if getattr(row, name) is True]
        yield Condition(f"one of {', '.join(columns)} is true: {', '.join(held) or 'none'}", bool(held))
    key: str | None = getattr(row, rule.column)
    if key is None:
        yield Condition(f"{rule.column} is known", holds=False)
        return
    yield Condition(f"{_said(rule.counts)} It is {key}", rule.counts(key))
    query = SeenQuery(key, shifted(row.published, -rule.window), row.published, row.uuid)
    (seen,) = history.seen(
        rule.column,
        [query],
        event_types=rule.needed_types(),
        conditions=rule.conditions,
        any_true=rule.any_true(),
    )
    yield Condition(f"no such event of {key} within {format_duration(rule.window)} before", not seen)


def _said(predicate: Callable[..., Any]) -> str:
    """Give what a predicate says of itself, else its name."""
    text = inspect.getdoc(predicate)
    return text.splitlines()[0] if text else predicate.__name__


def _named(predicate: Callable[..., Any]) -> str:
    """Return the description for the middle of a sentence."""
    return _said(predicate).removesuffix(".")


def _said_of_key(rule: WindowRule, key: Key) -> str:
    shown = ["nothing" if part is None else part for part in key]
    if type(rule).key is WindowRule.key:
        columns = rule.keyed_by or (rule.column,)
        return "known: " + ", ".join(map(" is ".join, zip(columns, shown, strict=True)))
    return f"{_said(rule.key)} Known: {', '.join(shown)}"
