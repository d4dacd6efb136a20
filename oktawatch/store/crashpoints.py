"""Kill the process at a named statement, for crash tests.

``OKTAWATCH_TEST_CRASH="after INSERT events 2"`` kills the process with SIGKILL right after its second INSERT statement
for ``events``. The value is ``before`` or ``after``, then a kind of statement and a table (or only ``COMMIT``), then the
number of the occurrence, by default 1. Without the variable, no listener is installed.
"""

import os
import re
import signal
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, event

VARIABLE = "OKTAWATCH_TEST_CRASH"

_SPLIT = re.compile(r"(before|after) (.+?)(?: (\d+))?").fullmatch
_VERB = re.compile(r"\s*(?:WITH locked AS\s*\(\s*)?(\w+)").match
_TABLE = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(?!json|LATERAL)(\w+)").search


def arm(engine: Engine) -> None:
    """Install the crash point from the environment, if there is one."""
    if VARIABLE in os.environ:
        _arm(engine, os.environ[VARIABLE])


def point(statement: str) -> str:
    """Return the name of a statement: its verb and its table."""
    verb, table = _VERB(statement), _TABLE(statement)
    return " ".join(part[1] for part in (verb, table) if part)


def _arm(engine: Engine, wanted: str) -> None:
    found = _SPLIT(wanted)
    if found is None:
        raise ValueError(f"{VARIABLE}: expected a value such as 'before INSERT events 2', not {wanted!r}")
    when, name, times = found[1], found[2], int(found[3] or 1)
    countdown = iter(range(times - 1, -1, -1))

    def reached() -> None:
        if next(countdown, None) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if name == "COMMIT":
        # SQLAlchemy has no event after a commit until the connection returns to the pool.
        if when == "before":
            event.listen(engine, "commit", lambda _connection: reached())
        else:
            _after_commit(engine, reached)
        return

    def on_statement(*arguments: Any) -> None:
        if point(arguments[2]) == name:
            reached()

    event.listen(engine, f"{when}_cursor_execute", on_statement)


def _after_commit(engine: Engine, reached: Callable[[], None]) -> None:
    committed = False

    def on_commit(_connection: object) -> None:
        nonlocal committed
        committed = True

    def on_return(*_: object) -> None:
        if committed:
            reached()

    event.listen(engine, "commit", on_commit)
    event.listen(engine, "reset", on_return)
