"""Commands that people wait for import nothing that they don't need.

`python -m benchmarks.startup` measures the time. These tests check the imports instead, which don't depend on the machine.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from oktawatch.store.database import Database
from tests.support.databases import create_schema
from tests.support.launch import environment

UNNEEDED = {
    "aiohttp", "alembic", "apprise", "apscheduler", "cryptography", "okta", "psycopg", "pydantic_settings", "rich.traceback",
    "sqlalchemy.dialects.postgresql", "structlog", "yaml",
    "oktawatch.detection", "oktawatch.service.app", "oktawatch.store.postgres", "oktawatch.systemlog",
}  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "status --json",
        "alerts list",
        "alerts list --since 7d --status open",
        "alerts list --org acme --csv",
    ],
)
def test_a_command_imports_only_what_it_needs(command: str, folder: Path) -> None:
    """With an SQLite file, Postgres's driver, the rules, the Okta SDK and structlog are not imported."""
    create_database(folder)

    imported = imported_by(command, folder)

    assert {"oktawatch.store.database", "sqlalchemy"} <= imported
    assert imported & UNNEEDED == set()


def test_a_current_schema_needs_no_alembic(folder: Path) -> None:
    """An upgrade of a current schema does not import Alembic. Every daemon upgrades at its start."""
    create_database(folder)

    imported = imported_by("db upgrade", folder)

    assert "oktawatch.store.schema" in imported
    assert "alembic" not in imported


def test_an_error_imports_nothing_of_other_commands(tmp_path: Path) -> None:
    """The error about a missing configuration imports neither the rules nor the simulator."""
    imported = imported_by("status", tmp_path)

    assert "oktawatch.config.sources" in imported
    assert imported & {"aiohttp", "okta", "oktawatch.detection.rule_tests", "oktawatch.simulator"} == set()


def create_database(folder: Path) -> None:
    """Create an SQLite file with the current schema."""
    database = Database(f"sqlite:///{folder}/oktawatch.db", create=True)
    create_schema(database)
    database.close()


def imported_by(command: str, folder: Path) -> set[str]:
    """Return the names of the modules that a command imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "oktawatch", *command.split()],
        cwd=folder, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return set(re.findall(r"^import time:.*\| +([\w.]+)$", done.stderr, re.MULTILINE))
