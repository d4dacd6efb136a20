"""A Postgres server that keeps connections open without responding blocks no caller."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from oktawatch.store import answer_deadline
from oktawatch.store.database import Database
from oktawatch.store.errors import StoppedError, StoreError
from oktawatch.store.schema import require_current
from tests.support.places import Kind, Place, place_of
from tests.support.postgres import proxied_server
from tests.support.stalling import StallingProxy, stalling

SOON_S = 5.0
"""A call that ends within this time did not wait for the server."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Yield a Postgres database with a schema."""
    with place_of(Kind.POSTGRES, tmp_path) as made:
        yield made


@pytest.fixture
def proxy(place: Place) -> Iterator[StallingProxy]:
    """Yield a proxy for the server."""
    with stalling(proxied_server(place.url)[0]) as made:
        yield made


@pytest.fixture
def stopping() -> threading.Event:
    """Return the event that stops the program."""
    return threading.Event()


@pytest.fixture
def database(place: Place, proxy: StallingProxy, stopping: threading.Event) -> Iterator[Database]:
    """Yield the database through the proxy, with a connection in its pool."""
    with closing(Database(proxied_server(place.url)[1](proxy.port), stopping=stopping)) as made:
        require_current(made)
        yield made


def fall_silent(database: Database, proxy: StallingProxy, *, statement: str | None) -> None:
    """Run a transaction in which the server stops responding, before a statement or before the commit."""
    with database.write() as connection:
        connection.execute(text("SELECT 1"))
        proxy.stall()
        if statement is not None:
            connection.execute(text(statement))


@pytest.mark.parametrize("statement", ["SELECT 2", None], ids=["a statement", "the commit"])
def test_a_silent_server_raises_an_error(
    database: Database, proxy: StallingProxy, monkeypatch: pytest.MonkeyPatch, statement: str | None
) -> None:
    """A silent server raises an error after the deadline, and the next transaction uses another connection."""
    monkeypatch.setattr(answer_deadline, "ANSWER_WITHIN_S", 0.3)
    with pytest.raises(StoreError, match="the server has not answered within"):
        fall_silent(database, proxy, statement=statement)
    proxy.flow()
    require_current(database)


def test_silent_pooled_connections_are_replaced(
    place: Place, proxy: StallingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silent connections in the pool are replaced without an error."""
    monkeypatch.setattr(answer_deadline, "BEGIN_WITHIN_S", 0.3)
    with closing(Database(proxied_server(place.url)[1](proxy.port))) as database:
        require_current(database)
        proxy.hold_present()
        require_current(database)


@pytest.mark.parametrize("fault", ["stall", "drip"])
def test_stopping_ends_a_statement(
    database: Database, proxy: StallingProxy, stopping: threading.Event, fault: str
) -> None:
    """A stop abandons the transaction, which is repeated after a restart."""

    def read() -> None:
        with database.read() as connection:
            getattr(proxy, fault)()
            stopping.set()
            connection.execute(text("SELECT repeat('x', 10000)")).all()

    begun = time.monotonic()
    with pytest.raises(StoppedError):
        read()
    assert time.monotonic() - begun < SOON_S


def test_stopping_ends_connecting(place: Place, proxy: StallingProxy, stopping: threading.Event) -> None:
    """A stop abandons a connection that the server accepted without an answer."""
    proxy.stall()
    stopping.set()
    begun = time.monotonic()
    database = Database(proxied_server(place.url)[1](proxy.port), stopping=stopping)
    with closing(database), pytest.raises(StoppedError):
        require_current(database)
    assert time.monotonic() - begun < SOON_S


def test_a_half_closed_connection_is_replaced(database: Database, proxy: StallingProxy) -> None:
    """A connection that the server closed while it was in the pool is replaced."""
    proxy.half_close()
    require_current(database)


def test_stopping_cancels_the_statement_on_the_server(
    place: Place, database: Database, stopping: threading.Event
) -> None:
    """A stop cancels the statement on the server, which releases its locks."""
    timer = threading.Timer(0.3, stopping.set)
    timer.start()
    with pytest.raises(StoppedError), database.read() as connection:
        connection.execute(text("SELECT pg_sleep(60)"))
    timer.join()
    end = time.monotonic() + SOON_S
    while place.ask("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND state = 'active'"):
        assert time.monotonic() < end
