"""The SQL of docs/postgres.md works: psql runs it on a separate server."""

import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from oktawatch.simulator import SimulatedOrg, running
from oktawatch.store.database import Database
from oktawatch.store.schema import upgrade
from oktawatch.store.tables import REVISION, metadata
from tests.support.logclient import event
from tests.support.postgres import OwnServer
from tests.support.program import Program, errors

GUIDE = Path(__file__).parents[2] / "docs" / "postgres.md"
SETUP, ANALYST, BEFORE, QUERY = re.findall(
    r"^```sql\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL
)
EVENTS, ALERTS = 6, 1
SET_REVISION = "UPDATE alembic_version SET version_num = '{}'"
WRITING = (
    "DELETE FROM {table}",
    "UPDATE {table} SET {column} = {column}",
    "INSERT INTO {table} ({column}) VALUES (NULL)",
)


class Guided:
    """A server that was set up as the guide describes, with a program and an org."""

    def __init__(self, own: OwnServer, program: Program) -> None:
        self.own = own
        self.program = program

    def psql(self, script: str, database: str = "postgres") -> None:
        """Run a script as the superuser; any error ends it."""
        done = subprocess.run(
            [self.own.programs / "psql", "-X", "-v", "ON_ERROR_STOP=1", "-h", self.own.folder, "-U", "postgres", database],
            input=script, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def url(self, role: str) -> str:
        """Return the database URL for a role."""
        return self.own.url.set(username=role, database="oktawatch").render_as_string(hide_password=False)

    def run(self, role: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the program as a role."""
        return self.program.run(*arguments, OKTAWATCH__DATABASE__URL=self.url(role))

    def done(self, role: str, *arguments: str) -> str:
        """Run the program as a role; it must succeed."""
        done = self.run(role, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, role: str, statement: str) -> list[tuple[object, ...]]:
        """Run a statement as a role."""
        with psycopg.connect(self.url(role).replace("+psycopg", ""), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def refused(self, role: str, statement: str) -> None:
        """Run a statement that a role is not allowed."""
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            self.ask(role, statement)


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guided]:
    """Yield a server that was set up as the guide describes, without a schema."""
    own, org = OwnServer(), SimulatedOrg()
    for number in range(EVENTS):
        org.persist(event(number, datetime.now(UTC), securityContext={"isProxy": number == 0}))
    with running(org) as url:
        program = Program(tmp_path_factory.mktemp("guided"))
        program.configure(("acme", url, org.token))
        made = Guided(own, program)
        made.psql(SETUP)
        made.psql(ANALYST)
        yield made
    own.close()


@pytest.fixture(scope="module")
def upgraded(guided: Guided) -> Guided:
    """Bring the schema up as the owner, in two steps, and run the daemon once as the writer."""
    database = Database(guided.url("oktawatch_owner"))
    upgrade(database, "0001")
    database.close()
    refused = guided.run("oktawatch", "run", "--once")
    assert refused.returncode == 2
    assert "run 'oktawatch db upgrade'" in errors(refused.stderr)[0]
    guided.done("oktawatch_owner", "db", "upgrade")
    guided.done("oktawatch", "run", "--once")
    return guided


def test_the_daemon_works_as_the_writer(upgraded: Guided) -> None:
    """The daemon works with the writer's role, and people can work on alerts with its configuration."""
    assert upgraded.ask("oktawatch", "SELECT count(*) FROM events") == [(EVENTS,)]
    assert upgraded.ask("oktawatch", "SELECT state FROM notifications") == [("sent",)] * ALERTS
    upgraded.done("oktawatch", "alerts", "close", "1", "--as", "benign")
    upgraded.done("oktawatch", "alerts", "reopen", "1")
    upgraded.done("oktawatch", "backfill", "--since", "1h")
    upgraded.done("oktawatch", "notifications", "list")
    upgraded.done("oktawatch", "db", "prune")
    upgraded.done("oktawatch", "run", "--once")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE another (id int)",
        "CREATE TEMPORARY TABLE another (id int)",
        "CREATE SCHEMA another",
        "CREATE INDEX another ON alerts (title)",
        "ALTER TABLE alerts ADD COLUMN another int",
        "TRUNCATE events",
        "DROP TABLE events",
        "DROP VIEW alert_events",
        "ALTER DATABASE oktawatch SET timezone = 'UTC'",
    ],
)
def test_the_writer_cannot_change_the_schema(upgraded: Guided, statement: str) -> None:
    """Rows are all that it may write."""
    upgraded.refused("oktawatch", statement)


def test_the_writer_can_neither_upgrade_nor_downgrade_the_schema(upgraded: Guided) -> None:
    """The writer's role can neither upgrade nor downgrade the schema."""
    upgraded.done("oktawatch", "db", "upgrade")  # nothing to do
    upgraded.ask("oktawatch_owner", SET_REVISION.format("0001"))
    try:
        refused = upgraded.run("oktawatch", "db", "upgrade")
    finally:
        upgraded.ask("oktawatch_owner", SET_REVISION.format(REVISION))
    assert refused.returncode != 0
    assert len(errors(refused.stderr)) == 1
    assert "must be owner" in refused.stderr or "permission denied" in refused.stderr


def test_an_analyst_can_run_the_documented_queries(upgraded: Guided) -> None:
    """An analyst can run the queries of the guide and the README, and the program's commands."""
    assert QUERY in (GUIDE.parents[1] / "README.md").read_text("utf-8")
    assert len(upgraded.ask("nora", QUERY)) == ALERTS
    assert upgraded.ask("nora", "SELECT count(*) FROM alert_events") == [(ALERTS,)]
    assert upgraded.ask("nora", "SELECT count(*) FROM history") == [(EVENTS,)]
    assert "Alert 1: MEDIUM, open" in upgraded.done("nora", "alerts", "show", "1")
    assert "acme" in upgraded.done("nora", "status")


@pytest.mark.parametrize("table", sorted(metadata.tables))
def test_an_analyst_cannot_write(upgraded: Guided, table: str) -> None:
    """An analyst can write to no table."""
    column = next(iter(metadata.tables[table].columns)).name
    for statement in WRITING:
        upgraded.refused("nora", statement.format(table=table, column=column))


def test_an_analyst_cannot_create_a_table(upgraded: Guided) -> None:
    """An analyst can't create a table."""
    upgraded.refused("nora", "CREATE TABLE another (id int)")
    upgraded.refused("nora", "CREATE TEMPORARY TABLE another (id int)")


def test_tables_of_later_revisions_have_the_same_rights(upgraded: Guided) -> None:
    """Tables of later revisions can be written by the writer and read by analysts."""
    upgraded.ask("oktawatch_owner", "CREATE TABLE later (id bigserial PRIMARY KEY, what text)")
    upgraded.ask("oktawatch", "INSERT INTO later (what) VALUES ('x')")
    assert upgraded.ask("nora", "SELECT what FROM later") == [("x",)]
    upgraded.refused("nora", "DELETE FROM later")
    upgraded.ask("oktawatch_owner", "DROP TABLE later")


def test_other_roles_cannot_connect(upgraded: Guided) -> None:
    """A role of the same server has no business here."""
    upgraded.psql("CREATE ROLE stranger LOGIN")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        upgraded.ask("stranger", "SELECT 1")


def test_the_daemon_continues_on_the_server_after_a_copy(tmp_path: Path) -> None:
    """After a copy to the server, the daemon continues there with the writer's role."""
    own, org = OwnServer(), SimulatedOrg()
    program = Program(tmp_path)
    guided = Guided(own, program)
    guided.psql(SETUP)
    with running(org) as url:
        program.configure(("acme", url, org.token))
        org.persist(event(1, datetime.now(UTC), securityContext={"isProxy": True}))
        assert program.run("run", "--once").returncode == 0
        for _ in range(2):
            done = program.run("db", "copy", "--to", guided.url("oktawatch_owner"))
            assert done.returncode == 0, done.stderr
        org.persist(event(2, datetime.now(UTC), actor={"id": "00u2"}, securityContext={"isProxy": True}))
        guided.done("oktawatch", "run", "--once")
    assert guided.ask("oktawatch", "SELECT id, event_count FROM alerts ORDER BY id") == [(1, 1), (2, 1)]
    assert guided.ask("oktawatch", "SELECT state FROM notifications") == [("sent",)] * 2
    own.close()


def test_the_guide_grants_rights_on_existing_tables(tmp_path: Path) -> None:
    """The guide's SQL gives the owner, the writer and the readers their rights on existing tables."""
    own = OwnServer()
    guided = Guided(own, Program(tmp_path))
    guided.psql(SETUP + "CREATE ROLE oktawatch_before LOGIN SUPERUSER;")
    database = Database(guided.url("oktawatch_before"))
    upgrade(database)
    database.close()
    guided.refused("oktawatch", "SELECT * FROM alerts")
    guided.psql(BEFORE, "oktawatch")
    guided.ask("oktawatch", "SELECT nextval('alerts_id_seq')")
    guided.ask("oktawatch", "DELETE FROM alerts")
    guided.ask("oktawatch_owner", "ALTER TABLE alerts ADD COLUMN another int")
    own.close()
