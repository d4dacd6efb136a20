"""Windowed rules agree with a simple reference that sees all events at once."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oktawatch.detection.first_seen import FirstSeen
from oktawatch.detection.registry import BUILT_IN
from oktawatch.detection.rules.first_proxied_session import FirstProxiedSession
from oktawatch.detection.windows import WindowRule
from tests.support.properties import examples
from tests.support.rule_memory import Memory
from tests.unit.detection.history_streams import body_of, pages_of, rule_of, streams
from tests.unit.detection.reference import REFERENCE_RULES, Body, first_seen


@pytest.mark.parametrize("rule_id", REFERENCE_RULES)
@given(data=st.data())
@settings(max_examples=examples(60))
def test_windowed_rules_agree_with_the_reference(rule_id: str, data: st.DataObject) -> None:
    """Rules agree with the reference for any order, page boundaries, repetitions and crashes before a commit."""
    stream = data.draw(streams(rule_id))
    pages = pages_of(data, stream)
    memory = Memory(rule_of(rule_id))
    for page in pages:
        if data.draw(st.booleans(), label="crash before the commit"):
            memory.page(page, committed=False)
        memory.page(page)
        if data.draw(st.booleans(), label="read some page again"):
            memory.page(data.draw(st.sampled_from(pages)))
    # Repeating a page is another order of arrival.
    assert set(memory.uuids()) == REFERENCE_RULES[rule_id].matches(stream)


@pytest.mark.parametrize("rule_id", [*REFERENCE_RULES, FirstProxiedSession.id])
@given(data=st.data())
@settings(max_examples=examples(40))
def test_page_boundaries_change_neither_matches_nor_alerts(rule_id: str, data: st.DataObject) -> None:
    """One page, several pages or a page per event give the same matches in the same order, and the same alerts."""
    stream = data.draw(streams(rule_id))
    whole, cut, single = Memory(rule_of(rule_id)), Memory(rule_of(rule_id)), Memory(rule_of(rule_id))
    whole.page(stream)
    for page in pages_of(data, stream):
        cut.page(page)
    for body in stream:
        single.page([body])
    assert whole.uuids() == cut.uuids() == single.uuids()
    assert whole.alerts() == cut.alerts() == single.alerts()
    contexts = [[match.details().context for match in one.recorded.values()] for one in (whole, cut, single)]
    for some_contexts in zip(*contexts, strict=True):
        assert len({str(context["evidence"]) + str(context.get("warmup")) for context in some_contexts}) == 1


@given(streams(FirstProxiedSession.id))
def test_a_first_occurrence_is_the_first_of_the_stream(stream: list[Body]) -> None:
    """A first occurrence depends only on the order of arrival."""
    memory = Memory(FirstProxiedSession())
    memory.page(stream)
    assert memory.uuids() == first_seen(stream)


@given(streams(FirstProxiedSession.id), st.data())
def test_reading_a_first_occurrence_again_changes_nothing(stream: list[Body], data: st.DataObject) -> None:
    """An event is not earlier than itself."""
    memory = Memory(FirstProxiedSession())
    pages = pages_of(data, stream)
    for page in pages:
        memory.page(page, committed=False)
        memory.page(page)
    before = memory.uuids()
    memory.page(data.draw(st.sampled_from(pages)))
    assert memory.uuids() == before


def test_each_org_has_its_own_history() -> None:
    """The same actor's first event in another org is a first event."""
    body = body_of(
        1,
        timedelta(),
        {"eventType": "user.session.start", "actor.id": "00u1", "securityContext.isProxy": True},
    )
    orgs = Memory(FirstProxiedSession()), Memory(FirstProxiedSession())
    for org in orgs:
        org.page([body])
    assert [org.uuids() for org in orgs] == [["e-001"], ["e-001"]]


def test_the_reference_implements_every_windowed_rule() -> None:
    """The reference implements every windowed rule."""
    assert {rule.id for rule in BUILT_IN if issubclass(rule, WindowRule)} == set(REFERENCE_RULES)
    assert [rule.id for rule in BUILT_IN if issubclass(rule, FirstSeen)] == [FirstProxiedSession.id]
