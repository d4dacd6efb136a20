"""The limit: the fastest known program for the same task as the floor.

msgspec decodes only the fields for the rule and the key. The bytes of an event are extracted only for matches. The key is
in time order, (org, published, uuid), and the table is stored in its order, so that inserts go to the end.
"""

import sqlite3

import msgspec

from benchmarks.contenders import reading

_SCHEMA = """
CREATE TABLE events (
  org TEXT NOT NULL, published TEXT NOT NULL, uuid TEXT NOT NULL, PRIMARY KEY (org, published, uuid)
) WITHOUT ROWID;
CREATE TABLE cursors (org TEXT PRIMARY KEY, cursor TEXT NOT NULL);
"""


class Security(msgspec.Struct, gc=False, rename="camel"):
    """The field of `securityContext` that the rule reads."""

    is_proxy: bool | None = None


class Event(msgspec.Struct, gc=False, rename="camel"):
    """The fields of an event for the rule and the key."""

    uuid: str
    published: str
    event_type: str
    security_context: Security | None = None


class Limit:
    """The limit, which writes to an SQLite file."""

    def __init__(self, database: str) -> None:
        self.connection = sqlite3.connect(database, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.executescript(_SCHEMA)
        self.decode = msgspec.json.Decoder(list[Event]).decode
        self.cut = msgspec.json.Decoder(list[msgspec.Raw]).decode

    def page(self, body: bytes, cursor: str, measured: reading.Measured) -> None:
        """Decode, match, insert, commit."""
        events = self.decode(body)
        matching = [number for number, event in enumerate(events) if _matches(event)]
        if matching:
            slices = self.cut(body)
            measured.matches += len([slices[number].copy() for number in matching])
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(
            "INSERT INTO events (org, published, uuid) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [(reading.ORG, event.published, event.uuid) for event in events],
        )
        self.connection.execute(
            "INSERT OR REPLACE INTO cursors (org, cursor) VALUES (?, ?)", (reading.ORG, cursor)
        )
        self.connection.execute("COMMIT")
        measured.events += len(events)


def _matches(event: Event) -> bool:
    """Return whether an event is a sign-in from an anonymizing proxy."""
    security = event.security_context
    return event.event_type == "user.session.start" and security is not None and security.is_proxy is True


if __name__ == "__main__":
    reading.main(Limit)
