"""Every test case of every built-in rule through the whole pipeline: polled and backfilled, on both databases.

In memory, the cases in YAML show that a rule is right. Here, they show that the pipeline and the tables don't
change its matches.
"""

from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from oktawatch.detection import rule_tests, rules
from oktawatch.detection.registry import BUILT_IN, RuleSet
from oktawatch.engine.backfill import Backfiller
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pipeline import Watch
from oktawatch.engine.poll import Poller
from oktawatch.model.alert import AlertStatus
from oktawatch.model.event import Event
from tests.support.databases import NOW, ORG, empty, open_database, rows
from tests.support.places import Kind, place_of
from tests.support.streams import Script, cut

CASES = {
    file.stem: rule_tests._parse(file.read_text("utf-8"), str(file))
    for file in sorted(Path(rules.__file__).parent.glob("*.yaml"))
}
KNOWN = {rule.id: rule for rule in BUILT_IN}
MANY = 25
"""Events from which on a poll brings ten at a time: one at a time is what a case in memory is like."""


@pytest.fixture(scope="module")
def executor(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseExecutor]:
    """Yield one database for all cases; each case empties it first."""
    with place_of(kind, tmp_path_factory.mktemp("vectors")) as place, open_database(place) as made:
        executor = DatabaseExecutor(made.url.render_as_string(hide_password=False))
        yield executor
        executor.close()


async def polled(executor: DatabaseExecutor, watch: Watch, events: list[Event]) -> None:
    """Poll the events in their order, page by page."""
    pages = cut(events, range(1, len(events)) if len(events) < MANY else range(10, len(events), 10))
    poller = Poller(
        Script({page.query: page for page in pages}, first=pages[0]),
        executor,
        watch,
        page_size=1000,
        initial_lookback=timedelta(days=1),
        now=lambda: NOW,
    )
    await poller.round()
    assert poller.caught_up


async def backfilled(executor: DatabaseExecutor, watch: Watch, events: list[Event]) -> None:
    """Backfill the events, with other page boundaries."""
    *pages, last = cut(events, range(7, len(events), 7))
    pages.append(msgspec.structs.replace(last, next=None))
    source = Script({page.query: page for page in pages}, first=pages[0])
    backfiller = Backfiller(source, executor, watch, page_size=1000, now=lambda: NOW)
    since = NOW - timedelta(days=30)
    result = await backfiller.run(command="backfill", since=since, until=NOW, notify=False)
    assert result.events == len(events)


@pytest.mark.parametrize("way", [polled, backfilled])
@pytest.mark.parametrize("name", CASES)
async def test_each_case_has_its_expected_results(
    executor: DatabaseExecutor,
    name: str,
    way: Callable[[DatabaseExecutor, Watch, list[Event]], Awaitable[None]],
) -> None:
    """Each case has the expected matches, alerts, severities, titles, dedup keys and signals."""
    found = CASES[name]
    for case in found.cases:
        database = executor.database
        empty(database)
        steps = [
            one
            for step in case.events or [rule_tests._Step(case.event, case.without)]
            for one in rule_tests._repeat(step)
        ]
        base = rule_tests._merged(found.base, case.base)
        events = [rule_tests._event(base, step, number) for number, step in enumerate(steps, start=1)]
        rule = rule_tests._rule(found.rule, KNOWN, case.options, found.files)
        await way(executor, Watch(org=ORG, rules=RuleSet([rule])), events)

        recorded = rows(database, "signals" if rule.signal else "matches")
        matched = {row["event_uuid"] for row in recorded}
        numbers = [number for number, event in enumerate(events, start=1) if event.uuid in matched]
        alerts = sorted(rows(database, "alerts"), key=lambda alert: alert["anchor"])
        visible = [alert for alert in alerts if alert["status"] != AlertStatus.PENDING]
        expect = case.expect
        if expect.match is not None:
            assert (numbers if isinstance(expect.match, list) else bool(numbers)) == expect.match, case.name
        if expect.alerts is not None:
            assert [alert["event_count"] for alert in visible] == expect.alerts, case.name
        if rule.signal or not numbers:
            assert alerts == [], case.name
            continue
        first = min(alerts, key=lambda alert: alert["id"])
        if expect.severity is not None:
            assert str(max(alert["severity"] for alert in alerts)) == expect.severity, case.name
        if expect.title is not None:
            assert first["title"] == expect.title, case.name
        if expect.dedup_key is not None:
            assert msgspec.json.decode(first["dedup_key"]) == expect.dedup_key, case.name
        if expect.context is not None and way is polled:  # other page boundaries change the context
            assert rule_tests._object_differences(expect.context, first["context"], case.name) == []
        assert sum(alert["event_count"] for alert in alerts) == len(recorded), case.name
