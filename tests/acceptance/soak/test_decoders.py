"""The decoders' properties hold for any bytes on a page.

`make test` decodes a thousand bodies. `make soak` decodes OKTAWATCH_FUZZ_BODIES bodies, from OKTAWATCH_FUZZ_SEED on, and
prints which lines of the decoders they reached. A failing body is printed: add it to the corpus or a test.
"""

import json
import os
from collections.abc import Sequence
from typing import Any

from oktawatch.detection import context
from oktawatch.detection.registry import build_rules
from oktawatch.detection.rule import EventRule
from oktawatch.model import event, history, lenient_json, privacy, risk, sanitize, timestamps
from oktawatch.model.event import Event
from oktawatch.model.history import HistoryRow
from oktawatch.model.sanitize import LONGEST_TEXT
from oktawatch.systemlog import decode
from tests.support.fuzz import Tracer, fuzz
from tests.support.hostile_values import FIELDS, TIMES, VALUES, element

SEED = int(os.environ.get("OKTAWATCH_FUZZ_SEED", "0"))
BODIES = int(os.environ.get("OKTAWATCH_FUZZ_BODIES", "1000"))
DECODERS = [decode, event, history, lenient_json, privacy, risk, sanitize, timestamps, context]
EVENT_RULES = [
    rule for rule in build_rules({}, enable=["*"], read_file=str).rules if isinstance(rule, EventRule)
]

ACCESSORS = [name for name, value in vars(Event).items() if isinstance(value, property)]

_SHAPES: list[dict[str, Any]] = [
    {
        "debugContext": {
            "debugData": {"risk": "{reasons=A, level=HIGH}", "behaviors": "{New Device=POSITIVE}"}
        }
    },
    {
        "debugContext": {
            "debugData": {"risk": ["HIGH"], "behaviors": [{"name": "New IP", "result": "POSITIVE"}]}
        }
    },
    {
        "debugContext": {
            "debugData": {"logOnlySecurityData": '{"risk":{"level":"LOW"},"behaviors":{"New IP":"POSITIVE"}}'}
        }
    },
    {
        "securityContext": {
            "risk": {"level": "LOW"},
            "userBehaviors": [],
            "ipDetails": {"asNumber": 64500, "domain": "."},
        }
    },
    {
        "actor": {"id": "unknown", "alternateId": "hunter2"},
        "debugContext": {"debugData": {"m": "no user hunter2"}},
    },
    {"actor": {"id": "unknown", "alternateId": "x"}, "target": [{"type": "User", "alternateId": "hunter2"}]},
    {"request": {"ipChain": [{"ip": "203.0.113.7"}, {"ip": "-"}, None]}, "client": None, "outcome": []},
]
_VALUES = [value for value in VALUES.values() if len(value) < 2_000]
_VALUES += [json.dumps(time).encode() for time in TIMES] + [
    b"[" * 150 + b"]" * 150,
    b"[" * 2_000 + b"]" * 2_000,
    b'"' + b"x" * 600 + b'"',
]
_BASE = {"uuid": "u-1", "published": "2026-11-02T11:00:00.000Z", "eventType": "user.session.start"}


_MOST_OF_THEM = 0.7
"""The minimum share of the decoders' lines that a thousand bodies reach. A smaller share means that the fuzzer misses code."""


def corpus() -> list[bytes]:
    """Return pages of invented events: ordinary events, events of every shape, and one with a hostile value in each field."""
    shapes = [json.dumps([_BASE | shape]).encode() for shape in _SHAPES]
    fields = [b"[" + element(n, field, _VALUES[n % len(_VALUES)]) + b"]" for n, field in enumerate(FIELDS)]
    return [b"[]", b"{}", b" [1, null] ", *shapes, *fields]


def read(body: bytes) -> None:
    """Decode a body and its single events, and check the properties of the results."""
    try:
        page = decode.decode(body)
    except ValueError:
        return
    alone = [Event.from_json(bytes(event.raw)) for event in page.events]
    assert len(page.events) + len(page.rejected) <= page.count
    _hold([HistoryRow.of(event) for event in page.events], [HistoryRow.of(event) for event in alone])
    for found in page.events:
        _hold_alone(found)


def _hold(of_page: Sequence[HistoryRow], alone: Sequence[HistoryRow]) -> None:
    assert [row.columns for row in of_page] == [row.columns for row in alone]
    for row in of_page:
        for name, value in zip(HistoryRow.__struct_fields__, row.columns, strict=False):
            if isinstance(value, str):
                assert "\0" not in value
                value.encode()
                assert len(value) <= LONGEST_TEXT or name in {"behaviours", "operators"}


def _hold_alone(found: Event) -> None:
    body = found.body()
    json.dumps(body, allow_nan=False).encode()
    again = Event.from_body(body)
    assert again.body() == body
    assert (again.uuid, again.published) == (found.uuid, found.published)
    assert HistoryRow.of(Event.from_body(again.body())).columns == HistoryRow.of(again).columns
    for accessor in ACCESSORS:
        getattr(found, accessor)
    context.event_context(found)
    for rule in EVENT_RULES:
        if rule.matches(found):
            rule.title(found).encode()


def test_the_properties_of_decoding_hold_for_any_body() -> None:
    """The properties hold for mutations of invented events. The fuzzer prefers mutations that reach new lines of the decoders."""
    tracer = Tracer(DECODERS)
    grown = corpus()
    size = fuzz(read, tracer, seed=SEED, corpus=grown, values=_VALUES, bodies=BODIES)
    report = [f"seed {SEED}: {BODIES} bodies, {len(tracer.arcs)} pairs of lines, {size} bodies in the corpus"]
    reached = []
    for module in DECODERS:
        lines, missed = tracer.missed(module)
        reached.append(1 - len(missed) / lines)
        report.append(f"{module.__name__}: {lines - len(missed)} of {lines} lines, not {missed}")
    print(*report, sep="\n")  # noqa: T201 -- `make soak` shows what passing tests print
    assert size > len(corpus())
    assert sum(reached) / len(reached) > _MOST_OF_THEM
