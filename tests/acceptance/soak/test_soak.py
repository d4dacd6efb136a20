"""Read days of events with every kind of fault, from many seeds: nothing is lost or duplicated, and all limits hold.

`make test` runs 3 seeds, `make test-all` and `make soak` run 200, and `make soak SEEDS=5000` runs any number. To run a failing
seed alone, use OKTAWATCH_SOAK_FIRST=<seed> OKTAWATCH_SOAK_SEEDS=1.
"""

import os
from collections import Counter
from typing import Any

import pytest

from oktawatch.model.timestamps import to_text
from tests.support.databases import rows
from tests.support.places import Place
from tests.support.soak import Soak, grouped

FIRST = int(os.environ.get("OKTAWATCH_SOAK_FIRST", "0"))
SEEDS = int(os.environ.get("OKTAWATCH_SOAK_SEEDS", "3"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
async def test_nothing_is_lost_or_duplicated(seed: int, one_place: Place) -> None:
    """Events, matches, alerts and notifications agree with the org's own record."""
    soak = Soak(seed, one_place.url)
    try:
        await soak.run()
        _compare(soak)
    finally:
        soak.close()


def _compare(soak: Soak) -> None:
    usable = [found for found in soak.sign_ins() if _usable(found)]
    settled = to_text(soak.end)
    wanted = {_clean(found["uuid"]) for found in usable if str(found["published"]) < settled}
    events = Counter(row["uuid"] for row in rows(soak.database, "events"))
    assert wanted <= events.keys()
    assert events.keys() <= {_clean(found["uuid"]) for found in usable}
    assert set(events.values()) == {1}

    proxied = {
        _clean(found["uuid"])
        for found in usable
        if _clean(found["uuid"]) in events
        and isinstance(found.get("securityContext"), dict)
        and found["securityContext"].get("isProxy") is True
    }
    matches = [row["event_uuid"] for row in rows(soak.database, "matches")]
    assert sorted(matches) == sorted(proxied) == sorted(match.event_uuid for match in soak.recorded)

    alerts = rows(soak.database, "alerts")
    columns = ("dedup_key", "anchor", "event_count", "first_event_at", "last_event_at", "severity")
    assert sorted(tuple(alert[name] for name in columns) for alert in alerts) == grouped(soak.recorded)

    notifications = rows(soak.database, "notifications")
    about_alerts = [row for row in notifications if row["alert_id"] is not None]
    assert {row["alert_id"] for row in about_alerts if row["kind"] == "opened"} == {
        alert["id"] for alert in alerts
    }
    assert all(alert["told"] == alert["severity"] for alert in alerts)
    # A notification that a more severe one superseded, or that is in a digest, is not sent by itself.
    assert {row["state"] for row in notifications} <= {"sent", "digested", "dropped"}
    assert all(_is_superseded(row, about_alerts) for row in about_alerts if row["state"] == "dropped")
    assert Counter(soak.receiver.taken) == Counter(
        row["id"] for row in notifications if row["state"] == "sent"
    )

    assert soak.org.violations == 0
    assert soak.failures >= {"unavailable", "broken_transfer", "token_refused"}


def _is_superseded(row: dict[str, Any], about_alerts: list[dict[str, Any]]) -> bool:
    worse = [
        one
        for one in about_alerts
        if one["alert_id"] == row["alert_id"] and one["severity"] > row["severity"]
    ]
    return any(one["state"] in {"sent", "digested"} for one in worse)


def _usable(found: dict[str, Any]) -> bool:
    uuid, published = found.get("uuid"), found.get("published")
    return (
        isinstance(uuid, str)
        and 0 < len(uuid) <= 255
        and isinstance(published, str)
        and published[:2] == "20"
    )


def _clean(uuid: object) -> str:
    return str(uuid).replace("\0", "\ufffd")
