"""A rule that uses a signal, as shown in docs/rules.md, through the whole pipeline."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oktawatch.detection.registry import BUILT_IN, RuleSet, RuleSettings, build_rules
from oktawatch.engine.loading import load_files
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.model.event import Event
from oktawatch.store.database import Database
from tests.support.databases import NOW, ORG, empty, open_database, rows
from tests.support.documented import RULE_WITH_SIGNAL_ID, write_example
from tests.support.places import Kind, place_of
from tests.support.properties import examples
from tests.support.streams import page
from tests.unit.detection.history_streams import body_of, pages_of, times
from tests.unit.detection.reference import Body, ReferenceRule, address, alternate_id, look_up, result

SIGNAL = "Okta.Login.Success"
FEW = {RULE_WITH_SIGNAL_ID: RuleSettings(options={"failures": 2})}
"""A threshold that small streams reach."""
WINDOW = timedelta(minutes=10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder."""
    return tmp_path_factory.mktemp("signals")


@pytest.fixture(scope="module")
def database(kind: Kind, folder: Path) -> Iterator[Database]:
    """Yield one database for all examples; each example empties it first."""
    with place_of(kind, folder) as place, open_database(place) as made:
        yield made


@pytest.fixture(scope="module")
def rules(folder: Path) -> dict[bool, RuleSet]:
    """Load the documented rule, and return it with the signal enabled and disabled."""
    found = load_files(BUILT_IN, [write_example(folder / "rules", RULE_WITH_SIGNAL_ID)])
    assert found.problems == ()
    return {
        on: RuleSet(
            rule
            for rule in build_rules(FEW, enable=["*"], read_file=str, classes=found.rules.values()).rules
            if rule.id == RULE_WITH_SIGNAL_ID or (on and rule.id == SIGNAL)
        )
        for on in (True, False)
    }


def succeeded(body: Body) -> bool:
    """Recognise the signal."""
    return bool(body["eventType"] == "user.session.start" and result(body) == "SUCCESS")


LAW = ReferenceRule(
    WINDOW,
    lambda body: (
        body["eventType"] == "user.session.start"
        and (look_up(body, "outcome.reason") == "INVALID_CREDENTIALS" or succeeded(body))
    ),
    lambda body: (alternate_id(body), address(body)),
    lambda window: succeeded(window[-1]) and sum(not succeeded(body) for body in window) >= 2,
)
WRONG = {"result": "FAILURE", "reason": "INVALID_CREDENTIALS"}
bodies = st.fixed_dictionaries(
    {
        "eventType": st.sampled_from(["user.session.start"] * 5 + ["user.authentication.sso"]),
        "actor.id": st.just("00u1"),
        "actor.alternateId": st.sampled_from(["a@example.com"] * 5 + ["b@example.com", None]),
        "client.ipAddress": st.sampled_from(["203.0.113.7"] * 5 + [None]),
        "outcome": st.sampled_from([WRONG, WRONG, WRONG, {"result": "SUCCESS"}, {"result": "FAILURE"}, None]),
    }
)


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_signals_agree_with_the_reference(
    database: Database, rules: dict[bool, RuleSet], data: st.DataObject
) -> None:
    """For any order and page boundaries, repetitions and restarts, the matches are those of the reference."""
    empty(database)
    drawn = data.draw(st.lists(st.tuples(times(WINDOW), bodies), max_size=30))
    numbers = data.draw(st.permutations(range(len(drawn))))
    stream = [body_of(number, at, values) for number, (at, values) in zip(numbers, drawn, strict=True)]
    on = data.draw(st.booleans(), label="the signal is on")
    pages = [list(part) for part in pages_of(data, stream)]
    watch = Watch(org=ORG, rules=rules[on])
    for part in pages:
        if data.draw(st.booleans(), label="starts anew"):
            watch = Watch(org=ORG, rules=rules[on])
        commit(database, watch, part)
        if data.draw(st.booleans(), label="reads some page again"):
            commit(database, watch, data.draw(st.sampled_from(pages)))
    assert {match["event_uuid"] for match in rows(database, "matches")} == LAW.matches(stream)
    recorded = {signal["event_uuid"] for signal in rows(database, "signals")}
    assert recorded == ({body["uuid"] for body in stream if succeeded(body)} if on else set())


def commit(database: Database, watch: Watch, part: list[Body]) -> Any:
    """Commit a page."""
    sent = page([Event.from_body(body) for body in part])
    return commit_page(database, watch, sent, notify=True, advance=lambda *_: None, now=NOW)
