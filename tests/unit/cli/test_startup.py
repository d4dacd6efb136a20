"""Commands that people wait for import nothing that they don't need.

`python -m benchmarks.startup` measures the time. These tests are about its causes, and don't depend on the machine.
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
    """On an SQLite file, neither Postgres's driver nor the rules, the Okta SDK or logging are imported."""
    database = Database(f"sqlite:///{folder}/oktawatch.db", create=True)
    create_schema(database)
    database.close()

    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "oktawatch", *command.split()],
        cwd=folder, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip

    imported = set(re.findall(r"^import time:.*\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert {"oktawatch.store.database", "sqlalchemy"} <= imported, done.stderr[-2000:]
    assert imported & UNNEEDED == set()
