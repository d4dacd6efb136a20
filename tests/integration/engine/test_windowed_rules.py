"""Windowed rules through the whole pipeline find the same as a simple reference implementation."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.detection.registry import BUILT_IN, RuleSet, RuleSettings, build_rules
from oktawatch.detection.rules.first_proxied_session import FirstProxiedSession
from oktawatch.engine.pipeline import PageResult, Watch, commit_page
from oktawatch.model.event import Event
from oktawatch.store.database import Database
from tests.support.databases import NOW, ORG, DiedError, empty, open_database, outcome, rows
from tests.support.history import properties
from tests.support.places import Kind, place_of
from tests.support.streams import page
from tests.unit.detection.events import NOON
from tests.unit.detection.history_streams import body_of, pages_of, rule_of, streams
from tests.unit.detection.reference import REFERENCE_RULES, Body, first_seen

OTHER = "other"


@pytest.fixture(scope="module")
def database(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield one database for all examples of a property; each example empties it first."""
    with place_of(kind, tmp_path_factory.mktemp("history")) as place, open_database(place, OTHER) as made:
        yield made


def commit(
    database: Database,
    rules: RuleSet,
    bodies: list[Body],
    *,
    org: str = ORG,
    watch: Watch | None = None,
    dies: bool = False,
) -> PageResult:
    """Commit a page, or die at its very end. Without a ``watch`` it is the first page of a process."""

    def advance(_transaction: Any, _result: PageResult) -> None:
        if dies:
            raise DiedError

    return commit_page(
        database,
        watch or Watch(org=org, rules=rules),
        page([Event.from_body(body) for body in bodies]),
        notify=True,
        advance=advance,
        now=NOW,
    )


def matched(database: Database) -> set[str]:
    """Return the events of the recorded matches."""
    return {match["event_uuid"] for match in rows(database, "matches")}


@pytest.mark.parametrize("rule_id", REFERENCE_RULES)
@properties
@given(data=st.data())
def test_the_pipeline_finds_the_same_matches_as_the_reference(
    database: Database, rule_id: str, data: st.DataObject
) -> None:
    """The pipeline finds the reference's matches for any order, page boundaries, repetitions, crashes and restarts."""
    empty(database)
    rules = RuleSet([rule_of(rule_id)])
    watch = Watch(org=ORG, rules=rules)
    stream = data.draw(streams(rule_id))
    pages = [list(part) for part in pages_of(data, stream)]
    for part in pages:
        if data.draw(st.booleans(), label="fails first"):
            with suppress(DiedError):
                commit(database, rules, part, watch=watch, dies=True)
        if data.draw(st.booleans(), label="starts anew"):
            watch = Watch(org=ORG, rules=rules)
        if data.draw(st.booleans(), label="another process reads it first"):
            commit(database, rules, part)
        commit(database, rules, part, watch=watch)
        if data.draw(st.booleans(), label="reads some page again"):
            commit(database, rules, data.draw(st.sampled_from(pages)), watch=watch)
    assert matched(database) == REFERENCE_RULES[rule_id].matches(stream)


@pytest.mark.parametrize("rule_id", [*REFERENCE_RULES, FirstProxiedSession.id])
@properties
@given(data=st.data())
def test_page_boundaries_change_no_rows(database: Database, rule_id: str, data: st.DataObject) -> None:
    """Alerts, matches and their contexts are the same for one page and for many."""
    rules = RuleSet([rule_of(rule_id)])
    stream = data.draw(streams(rule_id))
    empty(database)
    commit(database, rules, stream)
    whole = outcome(database)
    empty(database)
    watch = Watch(org=ORG, rules=rules)
    for part in pages_of(data, stream):
        commit(database, rules, list(part), watch=watch)
    cut = outcome(database)
    for kept in (whole, cut):
        for alert in kept["alerts"]:
            # Only events of the current page are complete, so most of the context depends on the page boundaries.
            alert["context"] = {
                key: alert["context"].get(key) for key in ("evidence", "warmup", "event_type")
            }
    assert cut == whole


@properties
@given(stream=streams(FirstProxiedSession.id), data=st.data())
def test_a_first_occurrence_is_the_first_event_of_the_stream(
    database: Database, stream: list[Body], data: st.DataObject
) -> None:
    """A first occurrence is the first event of the stream, read page by page from a database."""
    empty(database)
    for part in pages_of(data, stream):
        commit(database, RuleSet([FirstProxiedSession()]), list(part))
    assert matched(database) == set(first_seen(stream))


def test_each_org_has_its_own_history(database: Database) -> None:
    """History of an actor in one org does not affect another org."""
    empty(database)
    body = body_of(
        1,
        timedelta(),
        {"eventType": "user.session.start", "actor.id": "00u1", "securityContext.isProxy": True},
    )
    rules = RuleSet([FirstProxiedSession()])
    assert [commit(database, rules, [body], org=org).matches for org in (ORG, OTHER, ORG)] == [1, 1, 0]


def test_all_rules_can_be_enabled_at_once(database: Database) -> None:
    """All rules can evaluate the same page, and signals raise no alerts."""
    empty(database)
    rules = build_rules({}, enable=["*"], read_file=str)
    assert len(rules.rules) == len(BUILT_IN)
    body = body_of(
        1,
        timedelta(),
        {
            "eventType": "user.session.start",
            "actor.id": "00u1",
            "actor.alternateId": "nora@example.com",
            "client.ipAddress": "203.0.113.7",
            "outcome.result": "SUCCESS",
            "securityContext.isProxy": True,
        },
    )
    result = commit(database, rules, [body])
    assert (result.matches, result.alert_count) == (3, 2)
    recorded = {"org": ORG, "published": NOON, "event_uuid": "e-001", "rule_id": "Okta.Login.Success"}
    assert rows(database, "signals") == [recorded]
    assert {match["rule_id"] for match in rows(database, "matches")} == {
        "Okta.Anonymizing.VPN.Login",
        "Okta.First.Proxied.Session",
    }
    signal = RuleSettings(enabled=False)
    again = build_rules({"Okta.Login.Success": signal}, enable=["*"], read_file=str)
    assert commit(database, again, [body]).matches == 0
    assert commit(database, rules, [body]).matches == 0
