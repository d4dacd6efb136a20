"""Compare stored rows and received messages with the expected ones, and yield a line for each difference."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from oktawatch.model.timestamps import to_text
from tests.acceptance.crash.law import Expected
from tests.support.http import Received

Tables = Mapping[str, list[dict[str, Any]]]
KEY = "Idempotency-Key"


def org_differences(
    name: str, stored: Tables, wanted: Expected, received: Sequence[Received]
) -> Iterator[str]:
    """Compare an org's stored rows and received messages with the expected ones."""
    of_org = {table: [row for row in found if row.get("org") == name] for table, found in stored.items()}
    notified = [message.json for message in received if (message.json.get("alert") or {}).get("org") == name]
    yield from (
        f"{name}: {difference}"
        for differences in (
            _event_differences(of_org, wanted),
            _alert_differences(of_org, wanted),
            _kind_differences(of_org, stored["notifications"], wanted),
            _sighting_differences(of_org["sightings"], wanted),
            _count_differences(next(row for row in stored["orgs"] if row["name"] == name), wanted),
            _message_differences(notified, wanted),
        )
        for difference in differences
    )


def _event_differences(of_org: Tables, wanted: Expected) -> Iterator[str]:
    for table, column, expected in (
        ("events", "uuid", wanted.events),
        ("matches", "event_uuid", wanted.matches),
        ("allowed_matches", "event_uuid", wanted.allowed),
    ):
        counts = Counter(row[column] for row in of_org[table])
        yield from (f"{uuid} is missing in {table}" for uuid in expected - counts.keys())
        yield from (f"{uuid} is unexpected in {table}" for uuid in counts.keys() - expected)
        yield from (f"{uuid} is {n} times in {table}" for uuid, n in counts.items() if n > 1)


def _alert_differences(of_org: Tables, wanted: Expected) -> Iterator[str]:
    matches = Counter(row["alert_id"] for row in of_org["matches"])
    alerts = {
        (row["dedup_key"], row["anchor"]): (
            row["severity"].name, row["event_count"], matches[row["id"]], row["first_event_at"], row["last_event_at"],
        )
        for row in of_org["alerts"]
    }  # fmt: skip
    expected = {
        (alert.key, alert.anchor): (
            alert.severity, len(alert.times), len(alert.times), min(alert.times), max(alert.times),
        )
        for alert in wanted.alerts
    }  # fmt: skip
    if len(of_org["alerts"]) != len(alerts):
        yield f"{len(of_org['alerts'])} alerts of {len(alerts)} keys and anchors"
    for key in alerts.keys() | expected.keys():
        if alerts.get(key) != expected.get(key):
            yield f"alert {key} is {alerts.get(key)}, should be {expected.get(key)}"


def _kind_differences(
    of_org: Tables, notifications: Sequence[Mapping[str, Any]], wanted: Expected
) -> Iterator[str]:
    ids = {row["id"]: (row["dedup_key"], row["anchor"]) for row in of_org["alerts"]}
    notified = Counter((ids[row["alert_id"]], row["kind"]) for row in notifications if row["alert_id"] in ids)
    expected = Counter(
        ((alert.key, alert.anchor), kind) for alert in wanted.alerts for kind in alert.notified
    )
    yield from (
        f"notified {what} {notified[what]} times, should be {expected[what]}"
        for what in notified | expected
        if notified[what] != expected[what]
    )


def _count_differences(org: Mapping[str, Any], wanted: Expected) -> Iterator[str]:
    counted = (org["events_seen"], org["matches"], org["events_rejected"])
    expected = (len(wanted.events), len(wanted.matches), wanted.rejected)
    if counted != expected:
        yield f"counted {counted}, should be {expected}"


def _message_differences(messages: Sequence[Any], wanted: Expected) -> Iterator[str]:
    explained = {
        (alert.key, to_text(alert.anchor), f"alert.{kind}")
        for alert in wanted.alerts
        for kind in alert.notified
    }
    notified = ((m["alert"]["dedup_key"], m["alert"]["anchor"], m["type"]) for m in messages)
    yield from (f"notified {what}, which nothing explains" for what in notified if what not in explained)


def _sighting_differences(rows: Sequence[Mapping[str, Any]], wanted: Expected) -> Iterator[str]:
    found = {
        (row["actor_id"], row["client_ip"]): (
            row["first_at"],
            row["last_at"],
            row["successes"],
            row["failures"],
        )
        for row in rows
    }
    should = {
        pair: (one.first_at, one.last_at, one.successes, one.failures)
        for pair, one in wanted.sightings.items()
    }
    for pair in found.keys() | should.keys():
        if found.get(pair) != should.get(pair):
            yield f"sighting {pair} is {found.get(pair)}, should be {should.get(pair)}"


def notification_differences(
    notifications: Sequence[Mapping[str, Any]], received: Sequence[Received]
) -> Iterator[str]:
    """Compare the outbox with the received messages: each was received under one key, and there are no others."""
    messages: dict[str, list[Any]] = {}
    for one in received:
        messages.setdefault(one.headers[KEY], []).append(one.json)
    rows = {row["id"]: row for row in notifications}
    yield from (f"received, but in no row: {key}" for key in messages.keys() - rows.keys())
    for row in notifications:
        yield from (f"{why}: {row}" for why in _row_differences(row, rows, messages.get(row["id"], [])))
    keys = {
        (_summary(message), key)
        for key, notified in messages.items()
        for message in notified
        if "alert" in message
    }
    twice = Counter(what for what, _ in keys)
    yield from (f"{what} received under {n} keys" for what, n in twice.items() if n > 1)


def _row_differences(
    row: Mapping[str, Any], rows: Mapping[str, Any], messages: Sequence[Any]
) -> Iterator[str]:
    match row["state"]:
        case "sent":
            if not messages:
                yield "never received"
        case "digested":
            if messages:
                yield "received under its own key and in a digest"
            digest = rows.get(row["digest_id"])
            if digest is None or digest["state"] != "sent":
                yield "in no digest that was sent"
        case "dropped":
            if not any(_supersedes(other, row) for other in rows.values()):
                yield "dropped without a more severe notification"
        case state:
            yield f"still {state}"
    should = _expected_summary(row, rows)
    if should == ("digest", 0, "digest"):
        yield "a digest of nothing"
    yield from (f"said {_summary(one)}, should be {should}" for one in messages if _summary(one) != should)


def _expected_summary(row: Mapping[str, Any], rows: Mapping[str, Any]) -> tuple[str, int, str]:
    """Return what `_summary` must return for a row's messages."""
    match row["kind"]:
        case "digest":
            # An alert that was opened and raised is one alert of its digest.
            alerts = {other["alert_id"] for other in rows.values() if other["digest_id"] == row["id"]}
            return "digest", len(alerts), "digest"
        case "silence":
            # Several unusable events in a row can raise an alarm about the org's events. There must be no other alarm.
            return "events", 0, f"silence.{row['content']['state']}"
        case kind:
            return "alert", row["alert_id"], f"alert.{kind}"


def _summary(message: Any) -> tuple[str, int, str]:
    """Return what a message is about, the id or number of its alerts, and its type."""
    if "silence" in message:
        about = sorted({one["what"] for one in message["silence"]["about"]})
        return ", ".join(about), 0, message["type"]
    if "digest" in message:
        return "digest", message["digest"]["alerts"], message["type"]
    return "alert", message["alert"]["id"], message["type"]


def _supersedes(other: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    return (
        other["alert_id"] == row["alert_id"]
        and (other["severity"], other["kind"] == "raised") > (row["severity"], row["kind"] == "raised")
        and other["state"] in {"sent", "digested"}
    )
