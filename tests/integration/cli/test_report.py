"""`report` on a terminal, as JSON and as a page."""

import re
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from rich.cells import cell_len

from oktawatch.detection.registry import build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.store.report import alert_facts
from oktawatch.store.triage import Action, Decision
from tests.support.databases import NOW, ORG, open_database
from tests.support.places import Kind, Place, place_of
from tests.support.program import Program, errors
from tests.support.streams import event, page
from tests.support.triage import decide

RULES = build_rules({}, read_file=str)
PERIOD = ("--since", "2026-11-01", "--until", "2026-11-03")
DAY = timedelta(days=1)
DOCUMENT = Path(__file__).parents[3] / "docs" / "report.md"


@pytest.fixture(scope="module")
def program(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Yield a program whose database has three alerts of two days, and one from before."""
    with (
        place_of(kind, tmp_path_factory.mktemp("report")) as place,
        open_database(place, "other") as database,
    ):
        events = [
            event(1, at=-DAY, outcome={"result": "FAILURE"}),
            event(2, at=-DAY + timedelta(minutes=1), outcome={"result": "SUCCESS"}),
            event(3, actor={"id": "00u2", "alternateId": "eve@example.com"}, outcome={"result": "FAILURE"}),
            event(4, at=-9 * DAY, actor={"id": "00u3", "alternateId": "abel@example.com"}),
        ]
        others = [event(5, actor={"id": "00u4", "alternateId": "<b>mallory</b>"})]
        for org, sent in ((ORG, events), ("other", others)):
            watch = Watch(org=org, rules=RULES)
            commit_page(database, watch, page(sent), notify=False, advance=lambda *_: None, now=NOW)
        closing = Decision(action=Action.CLOSED, by="nora", disposition="true_positive")
        decide(database, [1], closing, now=NOW)
        found = Program(place.folder, place)
        found.configure((ORG, "https://acme.okta.com", "t0ken"))
        yield found


def test_json_has_the_numbers_of_the_period(program: Program) -> None:
    """The numbers of the period, of all orgs or one."""
    summary = program.json("report", *PERIOD)
    assert (summary["alerts"], summary["people"], summary["got_in"], summary["open"]) == (3, 3, 1, 2)
    assert [(span["begin"], sum(span["alerts"].values())) for span in summary["spans"]] == [
        ("2026-11-01", 1), ("2026-11-02", 2),
    ]  # fmt: skip
    (rule,) = summary["rules"]
    assert (rule["true_positive"], rule["precision_percent"], rule["advice"]) == (1, 100, "too few verdicts")
    assert [one["actor_alternate_id"] for one in summary["successes"]] == ["nora@example.com"]
    (paragraph,) = re.findall(
        r"^`--json` prints(.*?)\n\n", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    names = {*summary, *(key for bar in summary["countries"] for key in bar)}
    assert names == set(re.findall(r"`(\w+)`", paragraph))
    assert program.json("report", *PERIOD, "--org", "other")["orgs"] == ["other"]
    assert program.json("report", "--since", "2026-10-01", "--until", "2026-11-01")["alerts"] == 1


@pytest.mark.parametrize("width", [80, 120])
def test_the_report_fits_the_terminal(program: Program, width: int) -> None:
    """Each line fits, and every part is there."""
    done = program.run("report", *PERIOD, FORCE_COLOR="1", COLUMNS=str(width))
    assert (done.returncode, done.stderr) == (0, "")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).splitlines()
    assert max(map(cell_len, lines)) <= width
    for part in (
        "By day",
        "Attempts that got in",
        "ANONYMIZERS",
        "COUNTRIES",
        "NETWORKS",
        "PEOPLE",
        "ADDRESSES",
        "RULE",
    ):
        assert any(line.startswith(part) for line in lines), part
    assert any(line.startswith("2026-11-01  ") and line.endswith(" 1  ✓1") for line in lines)


def test_the_page_is_complete_and_private(program: Program) -> None:
    """The file is complete, and only its owner can read it."""
    done = program.run("report", *PERIOD, "--html", "report.html")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "the report is in report.html\n")
    file = program.folder / "report.html"
    text = file.read_text("utf-8")
    assert text.startswith("<!doctype html>\n")
    assert text.endswith("</html>\n")
    assert "&lt;b&gt;mallory&lt;/b&gt;" in text
    assert "<b>mallory" not in text
    assert file.stat().st_mode & 0o077 == 0
    assert [path.name for path in program.folder.glob("*report.html*")] == ["report.html"]


def test_an_empty_period_is_no_error(program: Program) -> None:
    """An empty period is no error."""
    done = program.run("report", "--since", "2020-01-01", "--until", "2020-01-02")
    assert (done.returncode, done.stdout.splitlines()[1:]) == (0, ["None."])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            ("--since", "2026-11-03", "--until", "2026-11-01"),
            "empty period (--until): expected a time after --since",
        ),
        (("--html", "nowhere/report.html"), "no such folder (--html nowhere/report.html): create it"),
        (("--html", "."), "a folder (--html .): name a file in it"),
        (("--html", "a", "--json"), "too many formats (--html, --json): use only one of them"),
        (("--org", "acmee"), "no such org (--org acmee): did you mean acme? there are: acme, other"),
    ],
)
def test_a_usage_error_is_one_line(program: Program, options: tuple[str, ...], error: str) -> None:
    """A usage error is one line."""
    done = program.run("report", *options)
    assert (done.returncode, done.stdout, errors(done.stderr)) == (2, "", [f"error: {error}"])


def test_pending_alerts_are_left_out(place: Place) -> None:
    """An alert below its threshold is no alert yet."""
    with open_database(place) as database:
        watch = Watch(org=ORG, rules=RULES)
        commit_page(database, watch, page([event(1)]), notify=False, advance=lambda *_: None, now=NOW)
        found = partial(alert_facts, database, since=NOW, until=NOW + DAY)
        assert [fact.id for fact in found()] == [1]
        assert list(found(orgs=["other"])) == []
        place.run("UPDATE alerts SET status = 'pending'")
        assert list(found()) == []
