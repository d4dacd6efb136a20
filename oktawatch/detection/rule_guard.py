"""Guard the methods of custom rules: contain their exceptions and limit their time.

A guarded rule is a copy with wrapped methods. A wrapped method runs within the time budget of the current
thread's page, if there is one (see ``engine.rule_budget``). Apart from Ctrl-C, it raises only subclasses of Exception,
which rule evaluation handles. Built-in rules are not wrapped.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from functools import wraps
from inspect import getdoc
from operator import attrgetter
from typing import Any, Protocol, TypeVar

from oktawatch.detection.first_seen import FirstSeen
from oktawatch.detection.rule import Rule
from oktawatch.detection.windows import CountInWindow, WindowRule

_NO_USER_CODE = frozenset(
    {
        *(Rule.dedup, Rule.severity_of, Rule.title, Rule.context, Rule.classify),
        *(WindowRule.takes, WindowRule.key, CountInWindow.holds, FirstSeen.counts),
    }
)
"""Default implementations, which call no user code."""


R = TypeVar("R", bound=Rule)


class RuleError(Exception):
    """A rule raised something that evaluation can't report, such as SystemExit, or an exception that can't be printed."""


class RuleLeftOutError(Exception):
    """A rule was not called, because it took too long on this page, or because earlier calls never returned."""


class Budget(Protocol):
    """A time budget for the methods of guarded rules."""

    def run(self, rule_id: str, event_uuid: str, method: Callable[..., Any], *arguments: Any) -> Any:
        """Return ``method(*arguments)``, or raise RuleLeftOutError if the rule is left out.

        ``event_uuid`` is empty if the argument belongs to no event.
        """


_budget: ContextVar[Budget | None] = ContextVar("budget", default=None)


@contextmanager
def budgeted(budget: Budget) -> Iterator[None]:
    """Apply a budget to the guarded rules that this thread runs inside the block."""
    token = _budget.set(budget)
    try:
        yield
    finally:
        _budget.reset(token)


def guarded(rule: R) -> R:
    """Return a copy of a rule with guarded methods."""
    guarded_rule = copy(rule)
    for name, event_uuid in _METHODS.items():
        method = getattr(rule, name, None)
        if method is not None and getattr(type(rule), name) not in _NO_USER_CODE:
            vars(guarded_rule)[name] = _guarded_method(rule.id, method, event_uuid)
    return guarded_rule


def _guarded_method(
    rule_id: str, method: Callable[..., Any], event_uuid: Callable[[Any], str]
) -> Callable[..., Any]:
    def contained(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        except BaseException as error:
            if is_interrupt(error):
                raise
            text = _printed(error)
            if isinstance(error, Exception) and text is not None:
                raise  # rule evaluation reports it
            # Others, such as SystemExit and asyncio's CancelledError, would end the daemon or silently lose the page.
            raise RuleError(f"the rule raised {text or type(error).__name__}") from None

    @wraps(method)
    def run(*arguments: Any) -> Any:
        budget = _budget.get()
        if budget is None:
            return contained(*arguments)
        return budget.run(rule_id, event_uuid(arguments[0]), contained, *arguments)

    run.__doc__ = getdoc(method)  # includes inherited docstrings, which `explain` shows
    return run


def _printed(error: BaseException) -> str | None:
    """Return an exception as text, or None if its class is custom code that fails to format it."""
    try:
        str(error)
        return repr(error)
    except BaseException as failure:
        if is_interrupt(failure):
            raise
        return None


def is_interrupt(error: BaseException) -> bool:
    """Return whether an exception comes from Ctrl-C, which raises KeyboardInterrupt only in the main thread."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


_of_event: Callable[[Any], str] = attrgetter("uuid")


def _of_window(window: Any) -> str:
    uuid: str = window[-1].uuid
    return uuid


_EVENT_METHODS = (
    *("matches", "condition", "takes", "key", "value", "first", "second", "starts", "follows"),
    *("dedup", "severity_of", "title", "context", "classify", "graded"),
)
"""The methods whose first argument is an event or a row."""
_METHODS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(_EVENT_METHODS, _of_event),
    **dict.fromkeys(("holds", "suspicious"), _of_window),
    "counts": lambda _key: "",
}
"""The methods to guard, each with a function from the first argument to the event's uuid, or to an empty text."""
OVERRIDABLE = frozenset((*_METHODS, "needed_types", "fewest", "any_true"))
"""The methods and properties that a custom rule may override: guarded ones, and those that depend only on its options.

`detection.validation` calls the unguarded ones when the rule is loaded and configured."""
