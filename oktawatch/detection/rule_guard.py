"""Guard the methods of a user's rule: contain whatever they raise, and count how long they take.

A guarded rule is a copy of which the methods that detection calls are replaced. Each of them runs within
the budget of the page that the present thread works on, if there is one (``engine.rule_budget``), and
raises nothing but an Exception, which is contained where rules are evaluated. Built-in rules are not
guarded and pay nothing.
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
        *(Rule.dedup, Rule.severity_of, Rule.title, Rule.context),
        *(WindowRule.takes, WindowRule.key, CountInWindow.holds, FirstSeen.counts),
    }
)
"""Methods that call nothing a user wrote, and take no time."""


R = TypeVar("R", bound=Rule)


class RuleError(Exception):
    """A rule raised what is no Exception, such as SystemExit."""


class RuleLeftOutError(Exception):
    """A rule is not asked, since it has used up its time."""


class Budget(Protocol):
    """Runs the methods of guarded rules."""

    def run(self, rule_id: str, event_uuid: str, method: Callable[[Any], Any], argument: Any) -> Any:
        """Return ``method(argument)``; raise RuleLeftOutError instead when the rule is left out.

        ``event_uuid`` is empty where a method looks at no event.
        """


_budget: ContextVar[Budget | None] = ContextVar("budget", default=None)


@contextmanager
def budgeted(budget: Budget) -> Iterator[None]:
    """Run guarded rules within a budget until the block ends, in this thread."""
    token = _budget.set(budget)
    try:
        yield
    finally:
        _budget.reset(token)


def guarded(rule: R) -> R:
    """Return a copy of a rule with guarded methods."""
    made = copy(rule)
    for name, event_uuid in _METHODS.items():
        method = getattr(rule, name, None)
        if method is not None and getattr(type(rule), name) not in _NO_USER_CODE:
            vars(made)[name] = _guarded(rule.id, method, event_uuid)
    return made


def _guarded(
    rule_id: str, method: Callable[[Any], Any], event_uuid: Callable[[Any], str]
) -> Callable[[Any], Any]:
    def contained(argument: Any) -> Any:
        try:
            return method(argument)
        except Exception:
            raise
        except BaseException as error:
            if is_interrupt(error):
                raise
            raise RuleError(f"it raised {error!r}") from error

    @wraps(method)
    def run(argument: Any) -> Any:
        budget = _budget.get()
        if budget is None:
            return contained(argument)
        return budget.run(rule_id, event_uuid(argument), contained, argument)

    run.__doc__ = getdoc(method)  # also what it inherits: `explain` shows it
    return run


def is_interrupt(error: BaseException) -> bool:
    """Return whether an exception is Ctrl-C's: Python raises that one in the main thread alone."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


_of_event: Callable[[Any], str] = attrgetter("uuid")


def _of_window(window: Any) -> str:
    uuid: str = window[-1].uuid
    return uuid


_METHODS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("matches", "takes", "key", "dedup", "severity_of", "title", "context"), _of_event),
    "holds": _of_window,
    "counts": lambda _key: "",
}
"""What detection calls of a rule, and how to tell from the argument which event it looks at."""
