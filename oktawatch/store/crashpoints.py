"""Death at a named point, for the tests that kill the program again and again.

``OKTAWATCH_TEST_CRASH="after INSERT events 2"`` ends the process by SIGKILL right after the second time
that it has inserted into ``events``; ``before`` and ``after``, any kind of statement (and ``COMMIT``) and
any table can stand there. Where the variable is not set nothing listens, and nothing is any slower.
"""

import os
import re
import signal
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, event

VARIABLE = "OKTAWATCH_TEST_CRASH"

_SPLIT = re.compile(r"(before|after) (.+?)(?: (\d+))?").fullmatch
_VERB = re.compile(r"\s*(?:WITH taken AS\s*\(\s*)?(\w+)").match
_TABLE = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(?!json|LATERAL)(\w+)").search


def arm(engine: Engine) -> None:
    """Die where the environment says."""
    if VARIABLE in os.environ:
        _arm(engine, os.environ[VARIABLE])


def point(statement: str) -> str:
    """Name a statement: what it does, and to which table."""
    verb, table = _VERB(statement), _TABLE(statement)
    return " ".join(part[1] for part in (verb, table) if part)


def _arm(engine: Engine, wanted: str) -> None:
    found = _SPLIT(wanted)
    if found is None:
        raise ValueError(f"{VARIABLE}: expected such as 'before INSERT events 2', not {wanted!r}")
    when, name, times = found[1], found[2], int(found[3] or 1)
    left = iter(range(times - 1, -1, -1))

    def reached() -> None:
        if next(left, None) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if name == "COMMIT":
        # After it nothing is heard until the connection goes back to its pool.
        if when == "before":
            event.listen(engine, "commit", lambda _connection: reached())
        else:
            _after_commit(engine, reached)
        return

    def seen(*arguments: Any) -> None:
        if point(arguments[2]) == name:
            reached()

    event.listen(engine, f"{when}_cursor_execute", seen)


def _after_commit(engine: Engine, reached: Callable[[], None]) -> None:
    committed = False

    def commits(_connection: object) -> None:
        nonlocal committed
        committed = True

    def returns(*_: object) -> None:
        if committed:
            reached()

    event.listen(engine, "commit", commits)
    event.listen(engine, "reset", returns)
