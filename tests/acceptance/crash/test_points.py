"""The crash points cover each statement of a page and of a delivery."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy import event as sql_event

from oktawatch import config
from oktawatch.service.app import Application
from oktawatch.service.run_once import run_once
from oktawatch.simulator import SimulatedOrg, broken, serve
from oktawatch.store.crashpoints import point
from tests.acceptance.crash.law import ALLOWED
from tests.acceptance.crash.world import APPLE, POINTS
from tests.support.http import listening
from tests.support.logclient import event
from tests.support.places import Kind, Place


class Transactions:
    """The statements of each transaction."""

    def __init__(self) -> None:
        self.done: list[set[str]] = []
        self._open: dict[object, set[str]] = {}

    def does(self, *arguments: Any) -> None:
        """Record a statement of the current transaction."""
        connection, statement = arguments[0].connection.dbapi_connection, arguments[2]
        if statement.startswith("BEGIN") or connection not in self._open:
            self._open[connection] = set()
            self.done.append(self._open[connection])
        self._open[connection].add(point(statement))


@pytest.fixture
def transactions() -> Iterator[Transactions]:
    """Record the statements of every database in this process."""
    made = Transactions()
    sql_event.listen(Engine, "before_cursor_execute", made.does)
    yield made
    sql_event.remove(Engine, "before_cursor_execute", made.does)


async def test_every_statement_is_a_crash_point(place: Place, transactions: Transactions) -> None:
    """Each statement of pages and deliveries is a crash point: with new, growing and raised alerts, an allowed match, a broken event and digests."""
    org, now = SimulatedOrg(), datetime.now(UTC)
    async with serve(org) as url, listening() as receiver:
        file = place.folder / "oktawatch.toml"
        file.write_text(
            f'[database]\nurl = "{place.url}"\n[poll]\ninitial_lookback = "1d"\n'
            f'[[allow]]\nreason = "the office"\nnetworks = ["{ALLOWED}"]\n'
            f'[[notifiers]]\ntype = "webhook"\nurl = "{receiver.url}"\nmin_severity = "INFO"\n'
            f'[[orgs]]\nname = "acme"\nurl = "{url}"\ntoken = "{org.token}"\n'
        )
        settings = config.load(file, environ={})
        for turn in range(3):
            for number in range(3):
                about = {"id": f"00u{number}"}
                relay = {"ipDetails": APPLE} if turn == 0 else {}
                at = now - timedelta(hours=2 * (number > 0), minutes=9 - turn)
                made = event(10 * turn + number, at, actor=about, securityContext={"isProxy": True} | relay)
                org.persist(made)
                org.persist(made | {"uuid": f"allowed-{turn}-{number}", "client": {"ipAddress": ALLOWED}})
                org.persist(broken.UNUSABLE["null_uuid"](made))
            await run_once(Application.build(settings))
        assert {one.json["type"] for one in receiver.received} >= {"alert.opened", "digest"}

    # The first transactions create the schema. Pages and deliveries are recognised by their tables.
    seen = {
        name
        for statements in transactions.done
        if any(name.endswith((" notifications", " events")) for name in statements)
        and not any(name.startswith(("CREATE", "ALTER", "DROP")) for name in statements)
        for name in statements
    }
    named = {one.partition(" ")[2] for one in POINTS}
    assert {name for name in seen if name.partition(" ")[0] not in SETTING} - named == set()
    assert named - seen == {"COMMIT"} | ({"SELECT locked"} if place.kind is Kind.SQLITE else set())


SETTING = {"BEGIN", "SET", "SAVEPOINT", "PRAGMA"}
"""Statements that change nothing."""
