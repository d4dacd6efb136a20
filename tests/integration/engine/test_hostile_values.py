"""No value of an event blocks its page, and every value is the same in both databases."""

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from oktawatch.detection.registry import build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.engine.routing import Route
from oktawatch.model.severity import Severity
from oktawatch.store.database import Database
from oktawatch.store.orgs import register_orgs
from oktawatch.systemlog.decode import Decoded, decode
from tests.support.databases import NOW, empty, open_database, outcome, rows
from tests.support.hostile_values import FIELDS, TIMES, VALUES, element
from tests.support.places import Kind, place_of
from tests.support.properties import examples
from tests.support.streams import body, page

ORG = "\U0001f600" * 100
"""The longest name in the most bytes, because names are parts of keys."""
RULES = build_rules({}, enable=["*"], read_file=str)
WATCH = Watch(org=ORG, rules=RULES, routes=(Route(notifier="soc", min_severity=Severity.INFO),))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Database]]:
    """Yield one database of each kind."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("both")
        places = [stack.enter_context(place_of(kind, folder)) for kind in Kind]
        first, second = (stack.enter_context(open_database(place, ORG)) for place in places)
        yield first, second


def read(database: Database, found: Decoded) -> dict[str, Any]:
    """Commit a decoded page twice; return its rows, which the second commit must not change."""
    empty(database)
    register_orgs(database, [ORG], now=NOW)
    left = []
    for _ in range(2):
        what = page(found.events, rejected=found.rejected)
        commit_page(database, WATCH, what, notify=True, advance=lambda *_: None, now=NOW)
        left.append(outcome(database) | {"history": rows(database, "history")})
    assert left[0] == left[1]
    assert {row["uuid"] for row in left[0]["events"]} == {event.uuid for event in found.events}
    assert len(left[0]["rejected"]) == len({rejected.raw for rejected in found.rejected})
    return left[0]


def same(both: tuple[Database, Database], elements: list[bytes]) -> dict[str, Any]:
    """Read a page into both databases; return its rows, which must be the same in both."""
    found = decode(b"[" + b",".join(elements) + b"]")
    first, second = (read(database, found) for database in both)
    for table, expected in first.items():
        for expected_row, actual_row in zip(expected, second[table], strict=True):
            assert actual_row == expected_row, table
    return first


@pytest.mark.parametrize("field", FIELDS)
def test_a_page_of_unusual_values_is_committed(both: tuple[Database, Database], field: str) -> None:
    """A page with an unusual value in each event is committed, with the valid event at its end."""
    elements = [element(number, field, value) for number, value in enumerate(VALUES.values())]
    good = element(1_000, "actor.id", b'"00u1000"')

    left = same(both, [*elements, good])

    if field != "uuid":  # uuids that differ only in replaced characters become equal
        assert len(left["events"]) + len(left["rejected"]) == len(elements) + 1
    assert body(1_000)["uuid"] in {row["event_uuid"] for row in left["matches"]}
    if field not in {"uuid", "published"}:
        assert left["rejected"] == []


def test_an_event_with_an_impossible_time_is_rejected(both: tuple[Database, Database]) -> None:
    """An event with an impossible time is rejected, and any other time is stored unchanged."""
    elements = [element(number, "published", json.dumps(time).encode()) for number, time in enumerate(TIMES)]

    left = same(both, elements)

    assert len(left["events"]) + len(left["rejected"]) == len(elements)
    kept = {row["published"].isoformat(timespec="milliseconds") for row in left["events"]}
    assert {"0001-01-01T00:00:00.000+00:00", "9999-12-31T23:59:59.999+00:00"} <= kept


def test_a_page_of_only_hostile_events_is_committed(both: tuple[Database, Database]) -> None:
    """A page whose events have every hostile value at every field is committed."""
    random_of = random.Random(3)
    elements = []
    for number in range(60):
        whole = element(number, "displayMessage", b'"x"')
        for _ in range(3):
            field, value = random_of.choice(FIELDS[2:]), random_of.choice([*VALUES.values()][:34])
            name = field.rpartition(".")[2].encode()
            whole = whole[:-1] + b',"' + name + b'":' + value + b"}"
        elements.append(whole)

    left = same(both, elements)

    assert len(left["events"]) == len(elements)


_TEXT = st.text(st.characters(codec=None), max_size=12)
_NUMBERS = st.integers() | st.floats() | st.integers(-(2**70), 2**70)
_JSON = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.tuples(st.sampled_from(FIELDS[2:]), _JSON), min_size=1, max_size=6))
@example([("actor", 1.7976931348623157e308)])
@settings(
    max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)  # fmt: skip
def test_any_json_value_is_stored_unchanged(
    both: tuple[Database, Database], values: list[tuple[str, Any]]
) -> None:
    """Both databases store and return any JSON value unchanged."""
    elements = [
        element(number, field, json.dumps(value).encode()) for number, (field, value) in enumerate(values)
    ]

    left = same(both, elements)

    assert len(left["events"]) == len(elements)
