"""The Grafana dashboard's SQL runs on Postgres, and shows what is in the tables."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from oktawatch.detection.registry import build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from tests.support.databases import NOW, open_database
from tests.support.places import Kind, Place, place_of
from tests.support.streams import event, page

DASHBOARD = json.loads(
    (Path(__file__).parents[2] / "config" / "grafana" / "oktawatch.json").read_text("utf-8")
)
QUERIES = {
    panel["title"]: target["rawSql"]
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", [])
    if "rawSql" in target
}


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Yield a database with alerts about two people, one of whom got in after a failure."""
    with place_of(Kind.POSTGRES, tmp_path_factory.mktemp("dashboard")) as place:
        with open_database(place) as database:
            events = [
                event(1, outcome={"result": "FAILURE"}),
                event(2, at=timedelta(minutes=1), outcome={"result": "SUCCESS"}),
                event(3, at=timedelta(days=-1), actor={"id": "00u2", "alternateId": "eve@example.com"}),
            ]
            watch = Watch(org="acme", rules=build_rules({}, read_file=str))
            commit_page(
                database, watch, page(events), notify=False, advance=lambda _moves, _result: None, now=NOW
            )
        yield place


def _run(place: Place, sql: str, *, orgs: str = "'acme', 'globex'") -> list[tuple[Any, ...]]:
    """Run a query as Grafana does, which replaces the macro and the variable."""
    start, end = (f"'{(NOW + timedelta(days=days)).isoformat()}'" for days in (-30, 30))
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {start} AND {end}", sql)
    sql = sql.replace("$org", orgs)
    assert "$" not in sql
    return place.ask(sql)


@pytest.mark.parametrize("title", QUERIES)
def test_each_panel_has_data(postgres: Place, title: str) -> None:
    """Every panel has data, and none for another org."""
    rows = _run(postgres, QUERIES[title])
    assert rows
    assert any(value for row in rows for value in row)
    other = _run(postgres, QUERIES[title], orgs="'initech'")
    assert other in ([], [(0,)])


def test_the_numbers_agree_with_the_alerts(postgres: Place) -> None:
    """Both people are counted, and the one who got in."""
    assert sum(row[2] for row in _run(postgres, QUERIES["Alerts by day and severity"])) == 2
    people = {row[0]: row[2] for row in _run(postgres, QUERIES["People with the most alerts"])}
    assert people["eve@example.com"] == 1
    assert len(people) == 2
    assert _run(postgres, QUERIES["Attempts that got in"]) == [(1,)]
    assert _run(postgres, QUERIES["Open alerts"]) == [(2,)]


def test_the_panels_do_not_overlap() -> None:
    """Each cell of the grid of 24 columns belongs to one panel, and ids are unique."""
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        grid = panel["gridPos"]
        for x in range(grid["x"], grid["x"] + grid["w"]):
            for y in range(grid["y"], grid["y"] + grid["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                assert x < 24
                taken[x, y] = panel["title"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
