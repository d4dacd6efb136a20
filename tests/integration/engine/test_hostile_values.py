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
from tests.support.places import Kind, place_of
from tests.support.properties import examples
from tests.support.streams import body, page

ORG = "\U0001f600" * 100
"""The longest name in the most bytes, because names are parts of keys."""
RULES = build_rules({}, enable=["*"], read_file=str)
WATCH = Watch(org=ORG, rules=RULES, routes=(Route(notifier="soc", min_severity=Severity.INFO),))
LONG = 1_000_000
_ASTRAL = "".join(map(chr, random.Random(7).choices(range(0x1F300, 0x1F5FF), k=600)))
_CONTROL = "".join(map(chr, random.Random(7).choices(range(1, 32), k=600)))

VALUES: dict[str, bytes] = {
    "nul": rb'"\u0000"',
    "nul_inside": rb'"before\u0000after"',
    "nul_as_byte": b'"before\0after"',
    "nul_as_key": rb'{"\u0000": {"a\u0000": ["\u0000"]}}',
    "surrogate": rb'"\ud800"',
    "surrogates_the_wrong_way_round": rb'"\udc00\ud800"',
    "surrogate_as_key": rb'{"\udfff": 1}',
    "no_utf8": b'"\xff\xfe\xc0\x80"',
    "no_character": rb'"\uffff\ufffe\ufdd0"',
    "more_than_64_bits": b"18446744073709551616",
    "64_bits": b"18446744073709551615",
    "63_bits": b"9223372036854775807",
    "less_than_63_bits": b"-9223372036854775809",
    "more_than_a_double": b"9" * 400,
    "less_than_a_double": b"-" + b"9" * 5_000,
    "1e400": b"1e400",
    "-1e400": b"-1e400",
    "1e308": b"1e308",
    "1e-400": b"1e-400",
    "5e-324": b"5e-324",
    "0.1": b"0.1",
    "-0.0": b"-0.0",
    "1e22": b"1e22",
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "like_nan": b'"NaN"',
    "like_infinity": b'"-Infinity"',
    "like_null": b'"NULL"',
    "like_an_array": rb'"{\"a\",NULL,\\}"',
    "like_bytes": rb'"\\x41"',
    "like_a_document": rb'"{\"a\": \"\\u0000\"}"',
    "like_sql": rb'"%s %(a)s :b ? $1 \u0027; DROP TABLE alerts; --"',
    "deep": b"[" * 5_000 + b"]" * 5_000,
    "deep_objects": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "long": b'"' + b"x" * LONG + b'"',
    "long_key": b'{"' + b"k" * 100_000 + b'": 1}',
    "long_list": b"[" + b"1," * 10_000 + b"1]",
    "long_in_bytes": json.dumps(_ASTRAL).encode(),
    "long_in_escapes": json.dumps(_CONTROL).encode(),
    "empty": b'""',
    "blank": rb'" \t\n\u2028"',
    "null": b"null",
    "true": b"true",
    "list": b"[[], {}, null]",
    "object": b'{"id": {"id": 1}, "id": 2}',
}
TIMES = [
    "-0001-01-01T00:00:00.000Z", "0000-12-31T23:59:59.999Z", "0001-01-01T00:00:00.000Z", "0001-01-01T00:00:00+14:00",
    "1582-10-10T00:00:00.000Z", "2016-12-31T23:59:60.000Z", "2026-02-30T00:00:00.000Z", "2026-11-02T11:00:00.123456789Z",
    "2026-11-02T25:00:00.000Z", "2026-11-02", "2026-W45-1", "20261102T110000Z", "9999-12-31T23:59:59.999Z",
    "9999-12-31T23:59:59.999-12:00", "9999-12-31T24:00:00.000Z", "10000-01-01T00:00:00.000Z", "294277-01-01T00:00:00.000Z",
    "infinity", "-infinity", "now", "epoch", "today", "4713-01-01 BC", "\u0662\u0660\u0662\u0666-11-02T11:00:00.000Z",
]  # fmt: skip
FIELDS = [
    "uuid", "published", "eventType", "displayMessage", "severity", "version",
    "actor", "actor.id", "actor.alternateId", "actor.displayName", "actor.type",
    "client", "client.ipAddress", "client.userAgent", "client.userAgent.rawUserAgent", "client.geographicalContext",
    "client.geographicalContext.country", "client.geographicalContext.city", "client.geographicalContext.geolocation.lat",
    "outcome", "outcome.result", "outcome.reason",
    "securityContext.asNumber", "securityContext.asOrg", "securityContext.isp", "securityContext.domain",
    "securityContext.risk", "securityContext.userBehaviors", "securityContext.ipDetails",
    "securityContext.ipDetails.asNumber", "securityContext.ipDetails.ipServiceCategories",
    "authenticationContext", "authenticationContext.externalSessionId", "authenticationContext.rootSessionId",
    "debugContext", "debugContext.debugData", "debugContext.debugData.dtHash", "debugContext.debugData.risk",
    "debugContext.debugData.behaviors", "debugContext.debugData.tunnels", "debugContext.debugData.logOnlySecurityData",
    "target", "request", "request.ipChain", "p_enrichment", "p_enrichment.ipinfo_privacy", "raw", "known",
]  # fmt: skip
TYPES = ["user.session.start", "user.authentication.auth_via_mfa", "policy.evaluate_sign_on", "user.account.privilege.grant"]  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Database]]:
    """Yield one database of each kind."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("both")
        places = [stack.enter_context(place_of(kind, folder)) for kind in Kind]
        first, second = (stack.enter_context(open_database(place, ORG)) for place in places)
        yield first, second


def element(number: int, field: str, value: bytes) -> bytes:
    """Return the bytes of an event with a value at a field."""
    mark = f"@{number}@"
    whole = body(number, eventType=TYPES[number % len(TYPES)]) | {
        "actor": {"id": f"00u{number % 7}", "alternateId": "nora@example.com", "displayName": "Nora Vale"},
        "outcome": {"result": "SUCCESS"},
        "authenticationContext": {"externalSessionId": f"s{number % 5}"},
        "debugContext": {"debugData": {"dtHash": "d1", "risk": "{level=HIGH}"}},
        "securityContext": {"isProxy": True, "asNumber": 64500},
    }
    *path, last = field.split(".")
    inner: dict[str, Any] = whole
    for part in path:
        inner = inner.setdefault(part, {})
    inner[last] = mark
    return json.dumps(whole).encode().replace(json.dumps(mark).encode(), value)


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
