"""People's decisions about alerts are kept when later pages change the alerts."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from oktawatch.detection.registry import RuleSettings, build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.model.timestamps import to_text
from oktawatch.store.alerts import show_alert
from oktawatch.store.database import Database
from oktawatch.store.schema import downgrade, upgrade
from oktawatch.store.triage import Action, Decision, TriageError
from tests.support.databases import NOW, ORG, open_database, rows
from tests.support.places import Place
from tests.support.streams import event, page
from tests.support.triage import decide

HOUR = timedelta(hours=1)
LATER = NOW + 3 * HOUR


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    """Yield a database with one open alert, whose event is at noon."""
    with open_database(place) as made:
        read_sign_in(made, 1)
        yield made


def acknowledge(database: Database, ids: list[int], *, now: datetime) -> None:
    """Acknowledge alerts as Nora."""
    decide(database, ids, Decision(action=Action.ACKNOWLEDGED, by="nora"), now=now)


def close(
    database: Database,
    ids: list[int],
    *,
    disposition: str | None = None,
    note: str | None = None,
    now: datetime,
) -> None:
    """Close alerts as Nora."""
    decide(
        database, ids, Decision(action=Action.CLOSED, by="nora", disposition=disposition, note=note), now=now
    )


def reopen(database: Database, ids: list[int], *, now: datetime) -> None:
    """Reopen alerts as Nora."""
    decide(database, ids, Decision(action=Action.REOPENED, by="nora"), now=now)


def read_sign_in(database: Database, number: int, *, at: timedelta = timedelta(), threshold: int = 1) -> None:
    """Commit a page with a sign-in through a proxy."""
    options = {"Okta.Anonymizing.VPN.Login": {"threshold": threshold}}
    rules = build_rules(
        {name: RuleSettings(options=one) for name, one in options.items()}, read_file=lambda _path: ""
    )
    commit_page(
        database,
        Watch(org=ORG, rules=rules),
        page([event(number, at=at)]),
        notify=True,
        advance=lambda _transaction, _result: None,
        now=NOW,
    )


def test_matches_join_an_acknowledged_alert(database: Database) -> None:
    """New matches join an acknowledged alert."""
    acknowledge(database, [1], now=NOW)
    acknowledge(database, [1], now=NOW)
    read_sign_in(database, 2, at=HOUR)
    (alert,) = rows(database, "alerts")
    assert (alert["status"], alert["event_count"]) == ("acknowledged", 2)


def test_a_match_after_closing_opens_another_alert(database: Database) -> None:
    """A closed alert stores the person, time, verdict and note, and the next match opens another alert."""
    close(database, [1], disposition="benign", note="travelling", now=NOW + HOUR)
    (alert,) = rows(database, "alerts")
    assert (alert["closed_at"], alert["closed_by"], alert["disposition"], alert["note"]) == (
        NOW + HOUR, "nora", "benign", "travelling",
    )  # fmt: skip
    read_sign_in(database, 2, at=timedelta(minutes=30))
    read_sign_in(database, 3, at=2 * HOUR)
    assert [(one["status"], one["event_count"]) for one in rows(database, "alerts")] == [
        ("closed", 2),
        ("open", 1),
    ]


def test_a_closed_alert_covers_its_matches(database: Database) -> None:
    """A closed alert covers all its matches, even one with a time in the future."""
    close(database, [1], now=NOW - HOUR)
    assert [alert["closed_at"] for alert in rows(database, "alerts")] == [NOW]


def test_matches_join_a_reopened_alert(database: Database) -> None:
    """New matches join a reopened alert, which keeps its note."""
    close(database, [1], disposition="benign", note="travelling", now=NOW + HOUR)
    reopen(database, [1], now=LATER)
    read_sign_in(database, 2, at=2 * HOUR)
    (alert,) = rows(database, "alerts")
    assert (alert["status"], alert["event_count"], alert["note"]) == ("open", 2, "travelling")
    assert (alert["closed_at"], alert["closed_by"], alert["disposition"]) == (None, None, None)


def test_a_decision_applies_to_all_alerts_or_none(database: Database) -> None:
    """If one of several alerts can't be changed, none is changed."""
    with pytest.raises(TriageError, match=r"no such alert \(99\)"):
        close(database, [1, 99], now=NOW)
    with pytest.raises(TriageError, match="only a closed alert"):
        reopen(database, [1], now=NOW)
    assert [alert["status"] for alert in rows(database, "alerts")] == ["open"]


def test_a_closed_alert_is_not_acknowledged_by_accident(database: Database) -> None:
    """Acknowledging a closed alert raises an error that names `reopen`."""
    close(database, [1], now=NOW)
    with pytest.raises(TriageError, match="alerts reopen"):
        acknowledge(database, [1], now=NOW)


def test_a_pending_alert_can_t_be_closed(database: Database) -> None:
    """Closing a pending alert raises an error."""
    read_sign_in(database, 2, at=24 * HOUR, threshold=2)
    with pytest.raises(TriageError, match="threshold"):
        close(database, [2], now=NOW)


def test_each_decision_is_recorded(database: Database) -> None:
    """Each decision is recorded in order with its person, time and note, and the alert has the latest state."""
    acknowledge(database, [1], now=NOW)
    decide(database, [1], Decision(action=Action.NOTED, by="abel", note="asked her"), now=NOW + HOUR)
    close(database, [1], disposition="benign", note="travelling", now=NOW + 2 * HOUR)
    reopen(database, [1], now=LATER)
    shown = show_alert(database, 1)
    assert shown is not None
    assert [(one["by"], one["action"], one["disposition"], one["note"]) for one in shown["actions"]] == [
        ("nora", "acknowledged", None, None),
        ("abel", "noted", None, "asked her"),
        ("nora", "closed", "benign", "travelling"),
        ("nora", "reopened", None, None),
    ]
    assert (shown["status"], shown["note"]) == ("open", "travelling")


def test_the_verdict_on_a_closed_alert_can_be_changed(database: Database) -> None:
    """Closing a closed alert changes only its verdict, and both verdicts are recorded."""
    close(database, [1], disposition="benign", now=NOW + HOUR)
    close(database, [1], disposition="true_positive", now=LATER)
    shown = show_alert(database, 1)
    assert shown is not None
    assert (shown["status"], shown["disposition"]) == ("closed", "true_positive")
    assert shown["closed_at"] == to_text(NOW + HOUR)
    assert [one["disposition"] for one in shown["actions"]] == ["benign", "true_positive"]
    with pytest.raises(TriageError, match="changes its verdict"):
        close(database, [1], now=LATER)


def test_a_failed_decision_is_not_recorded(database: Database) -> None:
    """If one of several ids is wrong, no alert changes and no decision is recorded."""
    with pytest.raises(TriageError):
        acknowledge(database, [1, 99], now=NOW)
    assert rows(database, "alert_actions") == []


def test_the_migration_keeps_the_closing_of_alerts(database: Database) -> None:
    """The migration records the last closing of each alert as its first action."""
    close(database, [1], disposition="benign", note="travelling", now=NOW + HOUR)
    before = rows(database, "alert_actions")
    downgrade(database, "0011")
    upgrade(database)
    assert rows(database, "alert_actions") == before
