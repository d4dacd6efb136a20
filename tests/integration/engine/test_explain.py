"""Events of any date can be explained, with the severity that the rules give them."""

from datetime import timedelta

import pytest

from oktawatch.detection.allow import NO_ENTRIES
from oktawatch.detection.registry import build_rules
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.explain import Explainer
from oktawatch.engine.pipeline import Watch, commit_page
from tests.support.databases import NOW, ORG
from tests.support.streams import Script, event, page


@pytest.mark.parametrize("published", ["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"])
async def test_an_event_at_either_end_of_the_calendar_is_explained(
    database: DatabaseExecutor, published: str
) -> None:
    """An event at the first or last representable time is explained."""
    rules = build_rules({}, enable=["*"], read_file=str)
    found = event(1, published=published)
    watch = Watch(org=ORG, rules=rules)
    await database.run(commit_page, watch, page([found]), notify=False, advance=lambda *_: None, now=NOW)
    explainer = Explainer(
        database,
        {ORG: Script({}, first=page([found]))},
        rules.rules,
        frozenset(),
        allow=NO_ENTRIES,
        org_tags={ORG: ()},
        now=lambda: NOW,
    )
    explanation = await explainer.explain(found.uuid)
    assert explanation is not None
    assert explanation.event["published"] == published
    assert any(verdict.recorded for verdict in explanation.verdicts)


async def test_the_severity_is_explained_by_the_past_of_the_event(database: DatabaseExecutor) -> None:
    """An explanation has the same reasons as the alert, and the current severity even if another one was recorded."""
    rules = build_rules({}, read_file=str)
    watch = Watch(org=ORG, rules=rules)
    day = timedelta(days=1)
    earlier = [
        event(number, at=-number * day, outcome={"result": "SUCCESS"}, securityContext=ANONYMIZED)
        for number in range(1, 4)
    ]
    found = event(9, outcome={"result": "SUCCESS"}, securityContext=ANONYMIZED)
    late = event(10, at=-timedelta(minutes=1), securityContext=ANONYMIZED)
    repeated = event(
        11, at=-2 * day + timedelta(minutes=1), outcome={"result": "SUCCESS"}, securityContext=ANONYMIZED
    )
    for events in ([earlier[1]], [found], [earlier[0], repeated], [earlier[2], late]):
        await database.run(commit_page, watch, page(events), notify=False, advance=lambda *_: None, now=NOW)

    explainer = Explainer(
        database,
        {ORG: Script({}, first=page([found, late, repeated]))},
        rules.rules,
        frozenset(),
        allow=NO_ENTRIES,
        org_tags={ORG: ()},
        now=lambda: NOW,
    )
    verdicts = []
    for event_ in (found, late, repeated):
        explanation = await explainer.explain(event_.uuid)
        assert explanation is not None
        verdicts += explanation.verdicts
    assert [
        (verdict.recorded_severity, verdict.severity, verdict.severity_reasons) for verdict in verdicts
    ] == [
        ("MEDIUM", "LOW", ("proxy", "familiar to this person")),
        ("LOW", "LOW", ("proxy", "familiar to this person")),
        ("MEDIUM", "LOW", ("proxy", "used the day before")),
    ]


ANONYMIZED = {"isProxy": True, "asNumber": 64500}
