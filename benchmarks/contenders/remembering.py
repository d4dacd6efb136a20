"""The limit, remembering: the fastest known program that also stores history rows and sightings.

msgspec decodes only the fields of the history row, which is stored as one JSON array in the row of the event. The sightings
of a page are summed up in a dict and merged with one upsert for each person and address. It doesn't check what
is stored already, so pages that are read twice would be counted twice.
"""

from typing import Any

import msgspec

from benchmarks.contenders import limit, reading

_SCHEMA = """
ALTER TABLE events ADD COLUMN fields TEXT;
CREATE TABLE sightings (
  org TEXT NOT NULL, actor TEXT NOT NULL, address TEXT NOT NULL, login TEXT, first_at TEXT NOT NULL,
  last_at TEXT NOT NULL, successes INTEGER NOT NULL, failures INTEGER NOT NULL, as_number INTEGER, country TEXT,
  proxied INTEGER, PRIMARY KEY (org, actor, address)
) WITHOUT ROWID;
CREATE INDEX ix_sightings ON sightings (org, address);
"""
_MERGE = """
INSERT INTO sightings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
  first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at),
  successes = successes + excluded.successes, failures = failures + excluded.failures
"""


class Actor(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The user of a sign-in."""

    id: str | None = None
    alternate_id: str | None = None
    display_name: str | None = None


class Place(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The location of the client."""

    country: str | None = None
    city: str | None = None


class Agent(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The program of the client."""

    raw_user_agent: str | None = None


class Client(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The client."""

    ip_address: str | None = None
    user_agent: Agent = Agent()
    geographical_context: Place = Place()
    device: str | None = None
    zone: str | None = None


class Session(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The session."""

    external_session_id: str | None = None
    root_session_id: str | None = None


class Outcome(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The outcome of the sign-in."""

    result: str | None = None
    reason: str | None = None


class Security(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The network of the client."""

    is_proxy: bool | None = None
    as_number: int | None = None


class Event(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The fields of an event for the rule, the key and the history row."""

    uuid: str
    published: str
    event_type: str
    actor: Actor
    client: Client
    authentication_context: Session
    outcome: Outcome
    security_context: Security


class Remembering(limit.Limit):
    """The limit with history rows and sightings, in an SQLite file."""

    def __init__(self, database: str) -> None:
        super().__init__(database)
        self.connection.executescript(_SCHEMA)
        self.decode_events = msgspec.json.Decoder(list[Event]).decode

    def page(self, body: bytes, cursor: str, measured: reading.Measured) -> None:
        """Decode, match, insert, sum up, commit."""
        events = self.decode_events(body)
        matching = [number for number, event in enumerate(events) if event.security_context.is_proxy]
        if matching:
            slices = self.cut(body)
            measured.matches += len([slices[number].copy() for number in matching])
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(
            "INSERT INTO events (org, published, uuid, fields) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            [(reading.ORG, event.published, event.uuid, _history_row(event)) for event in events],
        )
        self.connection.executemany(_MERGE, _sightings(events))
        self.connection.execute(
            "INSERT OR REPLACE INTO cursors (org, cursor) VALUES (?, ?)", (reading.ORG, cursor)
        )
        self.connection.execute("COMMIT")
        measured.events += len(events)


_encode = msgspec.json.Encoder().encode


def _history_row(event: Event) -> str:
    """Return the columns of the history row as a JSON array."""
    actor, client, place = event.actor, event.client, event.client.geographical_context
    session, outcome, security = event.authentication_context, event.outcome, event.security_context
    fields = (
        event.event_type, actor.id, actor.alternate_id, actor.display_name, client.ip_address,
        client.user_agent.raw_user_agent, session.external_session_id, session.root_session_id, outcome.result,
        outcome.reason, security.is_proxy, place.country, place.city, security.as_number, client.device, client.zone,
    )  # fmt: skip
    return _encode(fields).decode()


def _sightings(events: list[Event]) -> list[list[Any]]:
    """Return a row for each person and address of a page, whose events are in order of time."""
    rows: dict[tuple[str | None, str | None], list[Any]] = {}
    for event in events:
        actor, client, security = event.actor, event.client, event.security_context
        succeeded = event.outcome.result == "SUCCESS"
        row = rows.get(key := (actor.id, client.ip_address))
        if row is None:
            rows[key] = [
                reading.ORG, actor.id, client.ip_address, actor.alternate_id, event.published, event.published,
                succeeded, not succeeded, security.as_number, client.geographical_context.country, security.is_proxy,
            ]  # fmt: skip
        else:
            row[5] = event.published
            row[6] += succeeded
            row[7] += not succeeded
    return list(rows.values())


if __name__ == "__main__":
    reading.main(Remembering)
