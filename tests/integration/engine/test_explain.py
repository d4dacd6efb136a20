"""Events of any date can be explained."""

import pytest

from oktawatch.detection.allow import NO_ENTRIES
from oktawatch.detection.registry import build_rules
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.explain import Explainer
from oktawatch.engine.pipeline import Watch, commit_page
from tests.support.databases import NOW, ORG
from tests.support.streams import Script, event, page


@pytest.mark.parametrize("published", ["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"])
async def test_an_event_at_an_end_of_the_calendar(database: DatabaseExecutor, published: str) -> None:
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
