"""The floor: a program that a good engineer writes in an afternoon.

orjson parses a page into dicts, and the rule's predicate tests each event. One transaction per page inserts all events
with the obvious key, (org, uuid), and moves the cursor. There are no alerts and no notifications.
"""

import sqlite3
from typing import Any

import orjson

from benchmarks.contenders import reading

_SCHEMA = """
CREATE TABLE events (org TEXT NOT NULL, uuid TEXT NOT NULL, published TEXT NOT NULL, PRIMARY KEY (org, uuid));
CREATE TABLE cursors (org TEXT PRIMARY KEY, cursor TEXT NOT NULL);
"""


class Floor:
    """The floor, which writes to an SQLite file."""

    def __init__(self, database: str) -> None:
        self.connection = sqlite3.connect(database, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.executescript(_SCHEMA)

    def page(self, body: bytes, cursor: str, measured: reading.Measured) -> None:
        """Parse, match, insert, commit."""
        events = orjson.loads(body)
        matches = [event for event in events if _matches(event)]
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(
            "INSERT OR IGNORE INTO events (org, uuid, published) VALUES (?, ?, ?)",
            [(reading.ORG, event["uuid"], event["published"]) for event in events],
        )
        self.connection.execute(
            "INSERT OR REPLACE INTO cursors (org, cursor) VALUES (?, ?)", (reading.ORG, cursor)
        )
        self.connection.execute("COMMIT")
        measured.events += len(events)
        measured.matches += len(matches)


def _matches(event: dict[str, Any]) -> bool:
    """Return whether an event is a sign-in from an anonymizing proxy."""
    security = event.get("securityContext") or {}
    return event.get("eventType") == "user.session.start" and security.get("isProxy") is True


if __name__ == "__main__":
    reading.main(Floor)
