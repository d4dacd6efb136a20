"""Schema upgrades: by hand on a server, automatic in a file, and from a wheel."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oktawatch.simulator import SimulatedOrg, running
from oktawatch.store.crashpoints import VARIABLE
from oktawatch.store.database import Database
from oktawatch.store.schema import upgrade
from oktawatch.store.tables import REVISION
from tests.support.launch import launch
from tests.support.places import Kind, Place, place_of
from tests.support.program import Program, errors

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def empty(kind: Kind, tmp_path: Path) -> Iterator[Place]:
    """Yield a database without a schema."""
    with place_of(kind, tmp_path, schema=False) as made:
        yield made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Program]:
    """Configure the program for a server without a schema, and leave auto_upgrade off."""
    org = SimulatedOrg()
    with place_of(Kind.POSTGRES, tmp_path, schema=False) as place, running(org) as url:
        program = Program(place.folder, place)
        program.environment.pop("OKTAWATCH__DATABASE__AUTO_UPGRADE")
        program.configure(("acme", url, org.token))
        yield program


@pytest.mark.parametrize(
    "command", [("run",), ("run", "--once"), ("backfill", "--since", "1d")], ids=" ".join
)
def test_a_server_without_a_schema_is_not_touched(server: Program, command: tuple[str, ...]) -> None:
    """On a server without a schema, one line says which command to run, and the exit code is 2."""
    assert server.place
    done = server.run(*command)
    (error,) = errors(done.stderr)
    assert (done.returncode, "run 'oktawatch db upgrade'" in error) == (2, True)
    assert not server.place.has("orgs")

    assert server.run("db", "upgrade").returncode == 0
    assert server.run("run", "--once").returncode == 0


def test_a_newer_schema_is_refused(server: Program) -> None:
    """Every command that would write refuses a newer schema in one line."""
    server.run("db", "upgrade")
    assert server.place
    server.place.ask("UPDATE alembic_version SET version_num = '9999' RETURNING 1")
    for command, code in ((("run", "--once"), 2), (("db", "upgrade"), 1), (("status",), 1)):
        done = server.run(*command)
        (error,) = errors(done.stderr)
        assert (done.returncode, "install a newer oktawatch" in error) == (code, True), command


def test_hosts_upgrade_at_once(server: Program) -> None:
    """If several hosts upgrade at once, one does it and the others find it done."""
    hosts = [
        launch(
            ["db", "upgrade"],
            cwd=server.folder,
            environ=server.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    ended = [host.communicate(timeout=60) for host in hosts]
    assert [(host.returncode, out) for host, (out, _) in zip(hosts, ended, strict=True)] == [
        (0, f"{REVISION}\n")
    ] * 3


def test_a_killed_upgrade_changes_nothing(empty: Place) -> None:
    """A killed upgrade changes nothing, and the next one succeeds."""
    database = Database(empty.url, create=True)
    upgrade(database, "0007")
    database.close()
    empty.run(
        "INSERT INTO history (org, published, uuid, event_type) "
        "VALUES ('acme', '2026-11-02T12:00:00.000Z', 'e1', 'user.session.start')"
    )
    program = Program(empty.folder, empty)
    program.configure(("acme", "http://127.0.0.1:9", "00token"))
    kept = "SELECT version_num, uuid, event_type FROM alembic_version, history"
    for point in (
        "after INSERT history_rows", "after DROP", "after CREATE history_rows", "after INSERT events", "after CREATE events",
        "before COMMIT",
    ):  # fmt: skip
        killed = program.run("db", "upgrade", **{VARIABLE: point})
        assert killed.returncode == -signal.SIGKILL, point
        assert empty.ask(kept) == [("0007", "e1", "user.session.start")], point
    assert program.run("db", "upgrade").returncode == 0
    assert empty.ask(kept) == [(REVISION, "e1", "user.session.start")]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and install it into an empty folder."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        str(folder),
        str(REPOSITORY),
    ]
    subprocess.run([*pip, *build], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    into = ["install", "--no-deps", "--no-index", "--target", str(target), str(wheel)]
    subprocess.run([*pip, *into], check=True, capture_output=True)
    return target


def test_an_installed_wheel_brings_its_migrations(installed: Path, empty: Place) -> None:
    """An installed wheel can migrate either database, outside of the repository."""
    program = Program(empty.folder, empty)
    program.environment["PYTHONPATH"] = str(installed)
    program.configure(("acme", "http://127.0.0.1:9", "00token"))
    where = "import oktawatch.store.schema as schema; print(schema.migrations())"
    found = subprocess.run(
        [sys.executable, "-c", where],
        cwd=program.folder,
        env=program.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(found.stdout.strip()).is_relative_to(installed)

    done = program.run("db", "upgrade")

    assert (done.returncode, done.stdout) == (0, f"{REVISION}\n"), done.stderr
    assert program.rows("SELECT version_num FROM alembic_version") == [(REVISION,)]
