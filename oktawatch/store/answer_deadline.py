"""Client-side deadlines for the responses of a Postgres server.

A server, or a pooler in front of it, can keep a connection open without responding. TCP keepalives do not
detect this, because the peer's kernel still answers them. Without a deadline, the waiting thread would block
forever, and the daemon could not stop.

While psycopg waits, it resumes a generator at least ten times a second. So the waiting thread can check the
clock itself. An expired deadline closes the connection: the state of its transaction is unknown, and the
server rolls it back unless it was committed.
"""

import threading
import time
from collections.abc import Generator
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen, PQGenConn
from sqlalchemy import Connection as SqlConnection

T = TypeVar("T")

BEGIN_WITHIN_S = 30.0
"""Limit for the message that begins a transaction. It waits only for a free connection of a pooler."""
ANSWER_WITHIN_S = 120.0
"""Limit for a statement, longer than the server waits for a lock."""
MIGRATE_WITHIN_S = 3600.0
"""Limit for a statement of a schema upgrade, which may rewrite a large table."""
STOP_WITHIN_S = 1.0
"""Limit for all statements together once the program is stopping. The program must end within 5 s."""
_CANCEL_WITHIN_S = 0.5


class AnswerDeadline:
    """Opens connections that raise OperationalError if the server doesn't respond in time."""

    def __init__(self, stopping: threading.Event) -> None:
        """Once ``stopping`` is set, every wait ends within `STOP_WITHIN_S`."""
        self._stopping = stopping
        self._stop_by: float | None = None
        self._class = _connection_class(self)

    def connect(self, *arguments: Any, **parameters: Any) -> psycopg.Connection[Any]:
        """Connect like `psycopg.connect`, which enforces ``connect_timeout`` itself."""
        return self._class.connect(*arguments, **parameters)

    def limit(self, steps: Generator[Any, Any, T], within_s: float) -> Generator[Any, Any, T]:
        """Run psycopg's steps. Raise OperationalError after ``within_s``, or `STOP_WITHIN_S` after a stop."""
        deadline = time.monotonic() + within_s
        try:
            wanted = next(steps)
            while True:
                ready = yield wanted
                if self._stops_now():
                    raise psycopg.OperationalError("the program stops, and the server has not answered yet")
                if time.monotonic() > deadline:
                    raise psycopg.OperationalError(f"the server has not answered within {within_s:.0f} s")
                wanted = steps.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result

    def _stops_now(self) -> bool:
        if not self._stopping.is_set():
            return False
        if self._stop_by is None:
            self._stop_by = time.monotonic() + STOP_WITHIN_S
        return time.monotonic() > self._stop_by


def answer_within(connection: SqlConnection, seconds: float) -> None:
    """Set the time limit for each further statement of a connection."""
    driver_connection: Any = connection.connection.driver_connection
    driver_connection.answer_within_s = seconds


def _connection_class(deadline: AnswerDeadline) -> type[psycopg.Connection[Any]]:
    class LimitedConnection(psycopg.Connection[Any]):
        answer_within_s = ANSWER_WITHIN_S

        def wait(self, gen: PQGen[T], *arguments: Any, **options: Any) -> T:
            limited = deadline.limit(gen, self.answer_within_s)
            try:
                return super().wait(limited, *arguments, **options)
            except psycopg.OperationalError:
                if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                    self._abandon()
                raise

        def _abandon(self) -> None:
            # Otherwise the server would finish the statement and hold its locks until then.
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=_CANCEL_WITHIN_S)
            self.pgconn.finish()

        @classmethod
        def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Any]:
            # Needed only to stop the program during the wait. psycopg enforces connect_timeout, so use the longest limit.
            return deadline.limit(super()._connect_gen(conninfo), MIGRATE_WITHIN_S)

    return LimitedConnection
