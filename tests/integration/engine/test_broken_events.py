"""An unusable element never blocks its page. It is stored once with its complete content."""

import hashlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from oktawatch.detection.registry import RuleSet, build_rules
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pipeline import Watch
from oktawatch.engine.poll import Poller
from oktawatch.simulator import SimulatedOrg, broken, faults, serve
from oktawatch.store.status import org_statuses
from tests.support.databases import NOW, ORG, rows
from tests.support.faults import TOKEN, client_of


class EveryEvent(RuleSet):
    """The default rules without a filter, because an element that is not an object has no type."""

    filter = ""


RULES = EveryEvent(build_rules({}, read_file=lambda _path: "").rules)


def _sign_in(number: int) -> dict[str, Any]:
    return {
        "uuid": f"u-{number:03d}",
        "published": f"2026-11-02T11:00:00.{number:03d}Z",
        "eventType": "user.session.start",
        "actor": {"id": f"00u{number}", "alternateId": "nora@example.com", "displayName": "Nora Vale"},
        "client": {"ipAddress": "203.0.113.7"},
        "securityContext": {"isProxy": True},
    }


ELEMENTS = [
    *(make(_sign_in(number)) for number, make in enumerate(broken.USABLE.values())),
    *(make(_sign_in(100 + number)) for number, make in enumerate(broken.UNUSABLE.values())),
    json.dumps(_sign_in(200)).encode(),
]
NO_MATCH = {"text_for_object", "list_for_object", "null_everywhere", "text_for_boolean"}
"""Elements whose proxy flag is unusual."""
UNUSABLE = ELEMENTS[len(broken.USABLE) : -1]
USED = {f"u-{number:03d}" for number in range(len(broken.USABLE))} | {"u-200"}


@pytest.fixture
def org() -> SimulatedOrg:
    """Return an org whose pages contain every kind of unusable element beside a valid event."""
    org = SimulatedOrg(token=TOKEN, now=lambda: NOW)
    for number, element in enumerate(ELEMENTS):
        org.persist(element, persisted_at=NOW - timedelta(minutes=30) + timedelta(seconds=number))
    return org


@pytest.fixture
async def poller(org: SimulatedOrg, database: DatabaseExecutor) -> AsyncIterator[Poller]:
    """Poll the org without a filter."""
    watch = Watch(org=ORG, rules=RULES)
    async with serve(org) as url, client_of(url) as client:
        yield Poller(
            client, database, watch, page_size=1000, initial_lookback=timedelta(hours=2), now=lambda: NOW
        )


async def test_usable_events_are_evaluated_and_others_stored_unchanged(
    poller: Poller, database: DatabaseExecutor
) -> None:
    """Usable events are stored and evaluated, and the other elements are stored unchanged."""
    with capture_logs() as logs:
        result = await poller.round()
    found = {row["uuid"] for row in rows(database.database, "events")}
    assert found == USED
    matched = {row["event_uuid"] for row in rows(database.database, "matches")}
    assert matched == USED - {
        f"u-{number:03d}" for number, name in enumerate(broken.USABLE) if name in NO_MATCH
    }
    aside = rows(database.database, "rejected_events")
    assert sorted(row["raw"] for row in aside) == sorted(UNUSABLE)
    assert all(row["fingerprint"] == hashlib.sha256(row["raw"]).hexdigest() for row in aside)
    assert result.rejected == len(aside)
    (line,) = [line for line in logs if line["event"] == "events_rejected"]
    assert (line["org"], line["count"], line["log_level"]) == (ORG, len(aside), "warning")
    assert line["reasons"] == ["no usable published", "no usable uuid", "not a JSON object"]
    (status,) = org_statuses(database.database)
    assert (status.events_seen, status.events_rejected) == (len(USED), len(aside))


async def test_reading_broken_events_again_adds_nothing(
    org: SimulatedOrg, poller: Poller, database: DatabaseExecutor
) -> None:
    """Reading broken events again adds no rows, counts or log lines."""
    await poller.round()
    before = [rows(database.database, name) for name in ("events", "matches", "rejected_events", "alerts")]
    org.cursors.forget()
    with capture_logs() as logs:
        result = await poller.round()
    assert (result.events, result.new_events, result.rejected, result.matches) == (len(USED), 0, 0, 0)
    after = [rows(database.database, name) for name in ("events", "matches", "rejected_events", "alerts")]
    assert after == before
    assert "events_rejected" not in {line["event"] for line in logs}


async def test_of_two_bodies_with_one_uuid_the_first_counts(
    org: SimulatedOrg, poller: Poller, database: DatabaseExecutor
) -> None:
    """Of two bodies with one uuid, the first is evaluated."""
    org.faults.next(1, faults.contradict())
    await poller.round()
    assert {row["event_uuid"] for row in rows(database.database, "matches")} >= {"u-001"}
    assert "00u00000000000000000" not in {row["actor_id"] for row in rows(database.database, "alerts")}
