"""Fill a database by SQL with any number of past sign-ins, their sightings, and alerts.

Event `n` belongs to pair `n % pairs` of a person and an address, so that sightings can be computed without the events. A person
signs in about four times a day, from forty addresses in turn. Three people share an address. One person in fifty uses
an anonymizing proxy.
"""

import contextlib
import datetime as dt
import pathlib
import sqlite3

from oktawatch.model.history import SIGN_IN, HistoryRow
from oktawatch.model.timestamps import to_text
from oktawatch.store.database import Database
from oktawatch.store.history_fields import encode_fields
from oktawatch.store.schema import upgrade

SPAN = dt.timedelta(days=90)
"""The time range of the events, which is Okta's retention."""
_EVENTS_OF_A_PERSON = 400
_ADDRESSES_OF_A_PERSON = 40

# The columns of pair p. The person's number is p % people. p / people is the number among the person's addresses.
_PERSON = "printf('00u%07d', p % :people)"
_LOGIN = "printf('user%07d@example.com', p % :people)"
_NUMBER = f"(p % :people / 3 * {_ADDRESSES_OF_A_PERSON} + p / :people)"
_ADDRESS = f"printf('10.%d.%d.%d', {_NUMBER} >> 16, {_NUMBER} >> 8 & 255, {_NUMBER} & 255)"
_PROXIED = "p % :people % 50 = 0"
_MOMENT = "strftime('%Y-%m-%dT%H:%M:%fZ', :since + {} * :step)"

_EVENTS = f"""
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :events),
pairs AS (SELECT n, n % :pairs AS p FROM numbers)
INSERT INTO events (org, published, uuid, proxied_actor, fields)
SELECT :org, {_MOMENT.format("n")}, lower(hex(randomblob(18))), CASE WHEN {_PROXIED} THEN {_PERSON} END,
  replace(replace(replace(CASE WHEN {_PROXIED} THEN :proxied ELSE :direct END,
    '<id>', {_PERSON}), '<login>', {_LOGIN}), '<address>', {_ADDRESS})
FROM pairs
"""
_SIGHTINGS = f"""
WITH RECURSIVE pairs(p) AS (SELECT 0 UNION ALL SELECT p + 1 FROM pairs WHERE p + 1 < :pairs)
INSERT INTO sightings (org, actor_id, client_ip, actor_alternate_id, first_at, last_at, successes, failures, as_number,
  country, anonymizer, anonymizer_at, last_uuid)
SELECT :org, {_PERSON}, {_ADDRESS}, {_LOGIN}, {_MOMENT.format("p")}, {_MOMENT.format("(p + :events - :pairs)")},
  :events / :pairs, 0, 64496, 'Norway', CASE WHEN {_PROXIED} THEN 'proxy' END,
  CASE WHEN {_PROXIED} THEN {_MOMENT.format("p")} END, ''
FROM pairs
"""
_ALERTS = f"""
WITH RECURSIVE pairs(p) AS (SELECT 0 UNION ALL SELECT p + 1 FROM pairs WHERE p + 1 < :alerts)
INSERT INTO alerts (org, rule_id, dedup_key, anchor, severity, status, title, event_count, first_event_at,
  last_event_at, created_at, updated_at, actor_id, actor_alternate_id, client_ip, country, as_number, context)
SELECT :org, :rule, p, {_MOMENT.format("p")}, CASE WHEN p % 10 THEN 'MEDIUM' ELSE 'HIGH' END,
  CASE WHEN p % 20 THEN 'closed' ELSE 'open' END, {_LOGIN} || ' signed in through a proxy', 1, {_MOMENT.format("p")},
  {_MOMENT.format("p")}, {_MOMENT.format("p")}, {_MOMENT.format("p")}, {_PERSON}, {_LOGIN}, {_ADDRESS},
  CASE WHEN p % 5 THEN 'Norway' ELSE 'Chile' END, 64496 + p % 7, :context
FROM pairs
"""


def person(number: int) -> tuple[str, str, str]:
    """Return the id, the login and one address of a person."""
    address = number // 3 * _ADDRESSES_OF_A_PERSON
    octets = ".".join(str(address >> shift & 255) for shift in (16, 8, 0))
    return f"00u{number:07}", f"user{number:07}@example.com", f"10.{octets}"


def people(events: int) -> int:
    """Return the number of people who sign in."""
    return max(1, events // _EVENTS_OF_A_PERSON)


def fill(database: pathlib.Path, org: str, *, events: int, alerts: int, until: dt.datetime) -> None:
    """Create a database with sign-ins in SPAN before `until`, and alerts in the same time range.

    `events` is 0 or a multiple of 400.
    """
    opened = Database(f"sqlite:///{database}", create=True)
    upgrade(opened)
    opened.close()
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO orgs (name, created_at) VALUES (?, ?)", (org, to_text(until - SPAN)))
        (since,) = connection.execute("SELECT julianday(?)", (to_text(until - SPAN),)).fetchone()
        common = {"org": org, "since": since, "people": people(events)}
        if events:
            counts = {
                "events": events,
                "pairs": people(events) * _ADDRESSES_OF_A_PERSON,
                "step": SPAN.days / events,
            }
            rows = {"direct": _fields(is_proxy=False), "proxied": _fields(is_proxy=True)}
            connection.execute(_EVENTS, common | counts | rows)
            connection.execute(_SIGHTINGS, common | counts)
        if alerts:
            values = {"alerts": alerts, "step": SPAN.days / alerts, "rule": "Okta.Anonymizing.VPN.Login"}
            context = '{"debug": "' + "x" * 1_500 + '"}'  # as long as an event of the benchmark
            connection.execute(_ALERTS, common | values | {"context": context})


def _fields(*, is_proxy: bool) -> str:
    """Return the array of a history row, with placeholders for the person's and the address's values."""
    row = HistoryRow(
        "",
        "",
        event_type=SIGN_IN,
        actor_id="<id>",
        actor_alternate_id="<login>",
        actor_display_name="Nora Example",
        client_ip="<address>",
        user_agent="Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0",
        external_session_id="idx0123456789012345678901",
        outcome="SUCCESS",
        is_proxy=is_proxy,
        country="Norway",
        city="Oslo",
        as_number=64496,
        client_device="Computer",
    )
    return encode_fields(row)
