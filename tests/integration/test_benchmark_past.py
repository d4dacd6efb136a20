"""The benchmark's filled database: its computed sightings agree with a count of the events."""

import datetime as dt
import sqlite3
from contextlib import closing
from pathlib import Path

from benchmarks import past

UNTIL = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
_COUNTED = """
SELECT org, actor_id, client_ip, actor_alternate_id, min(published), max(published), count(*), max(is_proxy),
  min(CASE WHEN is_proxy THEN published END)
FROM history GROUP BY org, actor_id, client_ip ORDER BY 2, 3
"""
_STORED = """
SELECT org, actor_id, client_ip, actor_alternate_id, first_at, last_at, successes, anonymizer IS NOT NULL, anonymizer_at
FROM sightings ORDER BY 2, 3
"""


def test_computed_sightings_equal_a_count(tmp_path: Path) -> None:
    """The computed sightings equal a count by person and address, and the events and alerts are in the time range."""
    database = tmp_path / "past.db"
    past.fill(database, "acme", events=4_000, alerts=50, until=UNTIL)
    with closing(sqlite3.connect(database)) as connection:
        stored = connection.execute(_STORED).fetchall()
        assert stored == connection.execute(_COUNTED).fetchall()
        assert len(stored) == 40 * past.people(4_000)
        actor_id, login, address = past.person(7)
        assert ("acme", actor_id, address, login) in {row[:4] for row in stored}
        assert connection.execute("SELECT count(*) FROM alerts").fetchone() == (50,)
        count, last = connection.execute("SELECT count(*), max(published) FROM events").fetchone()
    assert count == 4_000
    assert "2026-10-31" < last < UNTIL.isoformat()


def test_a_database_can_be_empty(tmp_path: Path) -> None:
    """An empty database has only the schema and the org."""
    database = tmp_path / "past.db"
    past.fill(database, "acme", events=0, alerts=0, until=UNTIL)
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT (SELECT count(*) FROM events), name FROM orgs").fetchall() == [
            (0, "acme")
        ]
