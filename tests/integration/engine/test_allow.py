"""Allowed matches through the whole pipeline: recorded once, never in an alert."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from oktawatch.detection.allow import AllowEntry, AllowList
from oktawatch.detection.evidence import Evidence
from oktawatch.detection.evidence_severity import PAST_ADJUSTMENTS, SeverityTable
from oktawatch.detection.registry import RuleSet, build_rules, configured_rules
from oktawatch.detection.rules.anonymizing_vpn_login import AnonymizingVpnLogin
from oktawatch.engine.pipeline import PageResult, Watch, commit_page
from oktawatch.engine.routing import Route
from oktawatch.model.anonymizer_kind import AnonymizerKind
from oktawatch.model.event import Event
from oktawatch.model.severity import Severity
from oktawatch.store.database import Database
from oktawatch.store.pruning import Expiry, count_expired, prune_the_rest
from oktawatch.systemlog.page import Page
from tests.support.databases import NOW, ORG, empty, open_database, outcome, rows
from tests.support.places import Kind, Place, place_of
from tests.support.properties import examples
from tests.support.streams import cut, event, page, streams
from tests.unit.detection import history_streams
from tests.unit.detection.history_streams import pages_of, rule_of
from tests.unit.detection.reference import REFERENCE_RULES, look_up

R1 = AnonymizingVpnLogin.id
OFFICE = AllowEntry(reason="London office", networks=("198.51.100.0/24",))
RELAYS = AllowEntry(
    reason="Phones", kinds=(AnonymizerKind.RELAY,), actors=("00u1@*",), until=date(2026, 11, 2)
)
RULES = build_rules({}, enable=["*"], read_file=str)
_NO_PAST = Evidence({}, SeverityTable(levels=dict.fromkeys(PAST_ADJUSTMENTS, 0)))
RULES_WITHOUT_PAST = RuleSet(
    configured_rules({}, read_file=str, evidence=_NO_PAST).values(), evidence=_NO_PAST
)
"""All rules, with severities that don't depend on the person's past."""
HOUR = timedelta(hours=1)


def watch(*entries: AllowEntry, org: str = ORG, rules: RuleSet = RULES) -> Watch:
    """Return a watch of all rules with these entries."""
    return Watch(org=org, rules=rules, allow=AllowList(entries), routes=(Route(notifier="soc"),))


def commit(database: Database, watch: Watch, events: Sequence[Event], *, notify: bool = True) -> PageResult:
    """Commit a page."""
    return commit_page(database, watch, page(events), notify=notify, advance=lambda *_: None, now=NOW)


@pytest.fixture(scope="module")
def shared(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Return one database for all examples of a property; each empties it first."""
    with place_of(kind, tmp_path_factory.mktemp("allow")) as place, open_database(place) as made:
        yield made


def is_allowed(event: Event) -> bool:
    """Return whether an entry applies to an event's match, by a plain reading of both entries."""
    if (event.client_ip or "").startswith("198.51.100."):
        return True
    is_relay = "APPLE_ICLOUD_RELAY_PROXY" in str(event.body()["securityContext"])
    is_first_day = event.published < "2026-11-03"
    return is_relay and is_first_day and (event.actor_alternate_id or "").startswith("00u1@")


def alerts_of(database: Database) -> dict[str, Any]:
    """Return the alerts of R1, with their matches and notifications."""
    found = outcome(database)
    alerts = [alert for alert in found["alerts"] if alert["rule_id"] == R1]
    matches = [match for match in found["matches"] if match["rule_id"] == R1]
    notifications = [row for row in found["notifications"] if row["alert"][0] == R1]
    return {"alerts": alerts, "matches": matches, "notifications": notifications}


@settings(
    deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(stream=streams(), data=st.data())
def test_allowed_events_change_no_alert_of_other_events(
    shared: Database, stream: list[Event], data: st.DataObject
) -> None:
    """Any order, any cut into pages, any repetition: as if the allowed events had never happened.

    Only the severities know more: allowed sign-ins belong to the person's past. The rules here don't look at it.
    """
    stream = data.draw(st.permutations(stream))
    borders = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    pages: list[Page] = cut(stream, borders)
    empty(shared)
    for part in pages:
        commit(
            shared, watch(rules=RULES_WITHOUT_PAST), [event for event in part.events if not is_allowed(event)]
        )
    expected = alerts_of(shared)
    empty(shared)
    counted = 0
    for part in pages:
        for _ in range(data.draw(st.integers(1, 2))):
            allowing = watch(OFFICE, RELAYS, rules=RULES_WITHOUT_PAST)
            counted += commit(shared, allowing, part.events, notify=True).allowed
            again = data.draw(st.sampled_from(pages[: pages.index(part) + 1]))
            assert commit(shared, allowing, again.events).allowed == 0
    assert alerts_of(shared) == expected
    allowed = rows(shared, "allowed_matches")
    matched = {event.uuid for event in stream if event.is_proxy and is_allowed(event)}
    assert {row["event_uuid"] for row in allowed if row["rule_id"] == R1} == matched
    assert counted == len(allowed)
    keys = {(row["rule_id"], row["event_uuid"]) for row in rows(shared, "matches")}
    assert keys.isdisjoint((row["rule_id"], row["event_uuid"]) for row in allowed)


def test_an_allowed_sign_in_counts_in_the_persons_past(shared: Database) -> None:
    """A success is a level lower if an allowed sign-in through the same operator succeeded the day before."""
    marks = {"isProxy": True, "asNumber": 64500}
    severities = []
    for before in (
        [],
        [event(0, at=-timedelta(days=1), outcome={"result": "SUCCESS"}, securityContext=marks)],
    ):
        empty(shared)
        home = AllowEntry(reason="Home", networks=("0.0.0.0/0",), until=date(2026, 11, 1))
        commit(shared, watch(home), before)
        assert alerts_of(shared)["alerts"] == []
        commit(shared, watch(home), [event(1, outcome={"result": "SUCCESS"}, securityContext=marks)])
        severities += [alert["severity"] for alert in alerts_of(shared)["alerts"]]
    assert severities == [Severity.MEDIUM, Severity.LOW]


@pytest.mark.parametrize("rule_id", REFERENCE_RULES)
@settings(
    deadline=None, max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_windowed_rules_record_the_same_matches_in_any_order(
    shared: Database, rule_id: str, data: st.DataObject
) -> None:
    """All matches of the reference implementation are recorded: allowed ones with their entry, the others in alerts."""
    empty(shared)
    home = AllowEntry(reason="Home", networks=("203.0.113.7",))
    reader = Watch(org=ORG, rules=RuleSet([rule_of(rule_id)]), allow=AllowList([home]))
    stream = data.draw(history_streams.streams(rule_id))
    pages = [[Event.from_body(body) for body in part] for part in pages_of(data, stream)]
    for part in pages:
        commit(shared, reader, part)
        commit(shared, reader, data.draw(st.sampled_from(pages[: pages.index(part) + 1])))
    found = REFERENCE_RULES[rule_id].matches(stream)
    at_home = {body["uuid"] for body in stream if look_up(body, "client.ipAddress") == "203.0.113.7"}
    assert {row["event_uuid"] for row in rows(shared, "allowed_matches")} == found & at_home
    assert {row["event_uuid"] for row in rows(shared, "matches") if row["alert_id"]} == found - at_home


def test_an_allowed_match_is_recorded_with_its_entry(place: Place) -> None:
    """An allowed match is recorded with its entry, reason and person."""
    with open_database(place) as database, capture_logs() as logs:
        result = commit(database, watch(OFFICE), [event(1, client={"ipAddress": "198.51.100.9"}), event(2)])
        allowed = [row for row in rows(database, "allowed_matches") if row["rule_id"] == R1]
        (org,) = rows(database, "orgs")
        alerts = [row["client_ip"] for row in rows(database, "alerts") if row["rule_id"] == R1]
    assert allowed == [
        {
            "org": ORG, "rule_id": R1, "event_uuid": event(1).uuid, "published": NOW, "entry": OFFICE.id,
            "reason": "London office", "actor_alternate_id": "nora@example.com", "client_ip": "198.51.100.9",
        }
    ]  # fmt: skip
    assert alerts == ["203.0.113.7"]
    assert org["matches"] == result.matches
    (line,) = [line for line in logs if line["event"] == "matches_allowed"]
    assert (line["org"], line["entries"]) == (ORG, {OFFICE.id: result.allowed})


def test_changed_entries_change_no_recorded_match(place: Place) -> None:
    """Neither a new nor a removed entry changes a recorded match, however often its event is read."""
    with open_database(place) as database:
        first = event(1, client={"ipAddress": "198.51.100.9"})
        second = event(2, client={"ipAddress": "198.51.100.10"})
        commit(database, watch(), [first])
        commit(database, watch(OFFICE), [first, second])
        before = outcome(database)
        assert {row["event_uuid"] for row in before["allowed"] if row["rule_id"] == R1} == {second.uuid}
        assert {row["event_uuid"] for row in before["matches"] if row["rule_id"] == R1} == {first.uuid}
        for entries in ((), (OFFICE,), (RELAYS,)):
            commit(database, watch(*entries), [second, first])
            assert outcome(database) == before


def test_two_events_with_one_uuid_are_one_match(place: Place) -> None:
    """Of two events with the same uuid, the first one decides whether the match is allowed."""
    office, elsewhere = event(1, client={"ipAddress": "198.51.100.9"}), event(1)
    with open_database(place) as database:
        commit(database, watch(OFFICE), [office, elsewhere])
        assert [row["client_ip"] for row in rows(database, "allowed_matches") if row["rule_id"] == R1] == [
            "198.51.100.9"
        ]
        assert [row for row in rows(database, "matches") if row["rule_id"] == R1] == []
        empty(database)
        commit(database, watch(OFFICE), [elsewhere, office])
        assert [row for row in rows(database, "allowed_matches") if row["rule_id"] == R1] == []
        assert len([row for row in rows(database, "matches") if row["rule_id"] == R1]) == 1


def test_an_allowed_event_still_counts_in_windows(place: Place) -> None:
    """After two allowed sessions from the office, a third from elsewhere completes the pattern."""
    sessions = [
        event(
            number,
            at=number * timedelta(minutes=5),
            client={"ipAddress": address},
            authenticationContext={"externalSessionId": f"s{number}"},
        )
        for number, address in enumerate(["198.51.100.9", "198.51.100.9", "203.0.113.7"])
    ]
    with open_database(place) as database:
        commit(database, watch(OFFICE), sessions)
        found = [row["rule_id"] for row in rows(database, "alerts")]
        signals = rows(database, "signals")
        allowed = {(row["rule_id"], row["event_uuid"]) for row in rows(database, "allowed_matches")}
    assert "Okta.Multiple.Sessions" in found
    assert (R1, sessions[0].uuid) in allowed
    assert signals == []


def test_a_signal_is_recorded_even_if_its_event_is_allowed(place: Place) -> None:
    """A signal is recorded even if an allow entry matches its event."""
    success = event(1, client={"ipAddress": "198.51.100.9"}, outcome={"result": "SUCCESS"})
    with open_database(place) as database:
        commit(database, watch(OFFICE), [success])
        assert [row["rule_id"] for row in rows(database, "signals")] == ["Okta.Login.Success"]
        assert "Okta.Login.Success" not in {row["rule_id"] for row in rows(database, "allowed_matches")}


def test_a_match_completed_by_a_late_event_is_allowed(place: Place) -> None:
    """An older event's match is allowed by the network, actor and zone in its history row, but not by its anonymizer's kind."""
    sessions = [
        event(
            number,
            at=number * timedelta(minutes=5),
            client={"ipAddress": "198.51.100.9", "zone": "Office"},
            authenticationContext={"externalSessionId": f"s{number}"},
        )
        for number in range(3)
    ]
    zone = AllowEntry(reason="Zone", zones=("Office",))
    kinds = AllowEntry(reason="Kinds", kinds=(AnonymizerKind.PROXY,))
    for entry, is_allowed_late in ((zone, True), (kinds, False)):
        with open_database(place) as database:
            empty(database)
            commit(database, watch(entry), [sessions[0], sessions[2]])
            commit(database, watch(entry), [sessions[1]])
            allowed = {row["rule_id"] for row in rows(database, "allowed_matches")}
            assert ("Okta.Multiple.Sessions" in allowed) is is_allowed_late


def test_allowed_matches_are_kept_as_long_as_alerts(place: Place) -> None:
    """Allowed matches are pruned by event time like alerts, in batches. `count` returns the same number of rows."""
    old = [event(number, at=-2 * HOUR, client={"ipAddress": f"198.51.100.{number}"}) for number in range(5)]
    recent = event(9, client={"ipAddress": "198.51.100.9"})
    only = Watch(org=ORG, rules=build_rules({}, read_file=str), allow=AllowList([OFFICE]))
    with open_database(place) as database:
        commit(database, only, [*old, recent])
        expiry = Expiry(
            org=ORG, events=NOW - 9 * HOUR, history=None, alerts=NOW - HOUR, sightings=NOW - 9 * HOUR, familiar=NOW - 9 * HOUR,
            served=NOW - 9 * HOUR, is_in_history=RULES.is_in_history, backfill_look_back=HOUR, backfills_active_since=NOW,
        )  # fmt: skip
        expired = count_expired(database, expiry)
        batches = [prune_the_rest(database, expiry, 2) for _ in range(3)]
        kept = [row["event_uuid"] for row in rows(database, "allowed_matches")]
    assert expired["allowed_matches"] == len(old)
    assert [(batch.rows["allowed_matches"], batch.more) for batch in batches] == [
        (2, True),
        (2, True),
        (1, False),
    ]
    assert kept == [recent.uuid]


def test_concurrent_readers_record_an_allowed_match_once(place: Place) -> None:
    """If two readers have different entries, the first to commit decides."""
    events = [event(number, client={"ipAddress": "198.51.100.9"}) for number in range(20)]
    readers = [watch(OFFICE), watch(OFFICE), watch(), watch(RELAYS)]
    with open_database(place) as database, ThreadPoolExecutor(len(readers)) as threads:
        results = list(threads.map(lambda reader: commit(database, reader, events), readers))
        allowed = [row["event_uuid"] for row in rows(database, "allowed_matches") if row["rule_id"] == R1]
        matches = [row["event_uuid"] for row in rows(database, "matches") if row["rule_id"] == R1]
    assert sorted(allowed + matches) == sorted(event.uuid for event in events)
    assert sum(result.new_events for result in results) == len(events)
