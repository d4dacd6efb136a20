"""The severity of a match by the person's past agrees with a plain recount, however the events were read."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event as sql_event

from oktawatch.detection.registry import RuleSettings, build_rules
from oktawatch.model.event import Event
from oktawatch.model.person_past import PastQuery
from oktawatch.model.severity import Severity
from oktawatch.model.timestamps import to_text
from oktawatch.store.database import Database
from oktawatch.store.person_past import read_pasts
from oktawatch.store.pruning import prune_familiar_days
from oktawatch.store.schema import downgrade, upgrade
from tests.support.databases import NOW, ORG, empty, open_database, rows
from tests.support.person_past import (
    DAY,
    HOUR,
    NEW_DEVICE,
    familiar,
    read,
    severities,
    severity_of,
    sign_in,
)
from tests.support.places import Kind, place_of
from tests.support.pruning import expiry

RULE = "Okta.Anonymizing.VPN.Login"


@pytest.fixture(scope="module")
def database(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield one database for all tests; each empties it first."""
    with place_of(kind, tmp_path_factory.mktemp("past")) as place, open_database(place, "other") as made:
        yield made


@st.composite
def sign_ins(draw: st.DrawFn) -> list[Event]:
    """Draw sign-ins of few people, services and devices, in some hours of some days.

    Most are of one person through one operator, so that many examples have a past: many failures on two days, or
    successes on more days.
    """
    days, outcomes = draw(
        st.sampled_from([([-1, 0], [False, False, True]), ([-31, -30, -29, -2, -1, 0], [True] * 5 + [False])])
    )
    drawn: list[dict[str, Any]] = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "at": st.sampled_from([0, 20, 40, 60, 61]),
                    "day": st.sampled_from(days),
                    "actor": st.sampled_from(["00u1"] * 8 + ["00u2", "unknown"]),
                    "succeeded": st.sampled_from(outcomes),
                    "operator": st.sampled_from(["NORD_VPN"] * 4 + [None]),
                    "isProxy": st.sampled_from([True] * 6 + [False]),
                    "new": st.sampled_from([False] * 6 + [True]),
                }
            ),
            min_size=16,
            max_size=24,
        )
    )
    return [
        sign_in(
            number,
            at=fields["day"] * DAY + fields["at"] * timedelta(minutes=1),
            succeeded=fields["succeeded"],
            actor=fields["actor"],
            client={"ipAddress": f"203.0.113.{number}"},
            debugContext=NEW_DEVICE if fields["new"] else None,
            securityContext={
                "isProxy": fields["isProxy"],
                "asNumber": 64500,
                "associatedProxies": [fields["operator"]]
                if fields["operator"] and fields["isProxy"]
                else None,
            },
        )
        for number, fields in enumerate(drawn)
    ]


def expected(earlier: Sequence[Event], attempt: Event) -> Severity:
    """Return the severity of a sign-in after these events, as docs/detection.md describes it."""
    level = Severity.MEDIUM
    theirs = {
        other.uuid: other for other in earlier if other.actor_id == attempt.actor_id is not None
    }.values()
    failures = [
        other
        for other in theirs
        if other.outcome_result == "FAILURE"
        and timedelta() <= attempt.published_at - other.published_at <= HOUR
    ]
    if attempt.outcome_result == "SUCCESS" and len(failures) >= 3:
        level = Severity(level + 1)
    days = {
        other.published_at.date()
        for other in theirs
        if other.outcome_result == "SUCCESS"
        and other.is_proxy
        and other.operators == attempt.operators
        and not other.behaviours
        and timedelta() < attempt.published_at.date() - other.published_at.date() <= 30 * DAY
    }
    if len(days) >= 3 and not attempt.behaviours:
        return Severity(level - 1)
    repeated = attempt.outcome_result == "SUCCESS" and attempt.published_at.date() - DAY in days
    if repeated and level is Severity.MEDIUM and not attempt.behaviours:
        return Severity.LOW
    return level


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_severities_agree_with_a_recount(database: Database, data: st.DataObject) -> None:
    """Severities agree with the recount for any order, page boundaries, repetitions and crashes."""
    empty(database)
    events = data.draw(sign_ins())
    seen: list[Event] = []
    wanted: dict[str, Severity] = {}
    for _ in range(data.draw(st.integers(1, 4))):
        part = data.draw(st.lists(st.sampled_from(events), min_size=10, max_size=20))
        killed = data.draw(st.sampled_from([False, False, True]))
        read(database, part, killed=killed)
        for attempt in () if killed else part:
            if attempt.is_proxy and attempt.uuid not in wanted:
                wanted[attempt.uuid] = expected(seen, attempt)
            seen.append(attempt)
    assert severities(database) == wanted


def test_a_success_after_three_failures_within_an_hour_is_raised(database: Database) -> None:
    """Failures count from any address, hidden or not, until an hour has passed, but not other people's."""
    home: dict[str, Any] = {"securityContext": {"isProxy": False}, "client": {"ipAddress": "198.51.100.9"}}
    for start, failures, last, level in (
        (timedelta(), 3, HOUR, Severity.HIGH),
        (3 * HOUR, 2, HOUR, Severity.MEDIUM),
        (6 * HOUR, 3, HOUR + timedelta(milliseconds=1), Severity.MEDIUM),
    ):
        empty(database)
        read(
            database,
            [sign_in(number, at=start, succeeded=False, **home) for number in range(failures)]
            + [sign_in(9, at=start, succeeded=False, actor="00u2", **home)],
        )
        assert severity_of(database, sign_in(10, at=start + last)) is level


def test_late_failures_change_no_recorded_severity(database: Database) -> None:
    """Failures that arrive late change no recorded match, even when it is read again."""
    empty(database)
    attempt = sign_in(1, at=timedelta(minutes=30))
    assert severity_of(database, attempt) is Severity.MEDIUM
    read(database, [sign_in(number, at=timedelta(), succeeded=False) for number in range(2, 5)])
    assert severity_of(database, attempt) is Severity.MEDIUM


@pytest.mark.parametrize("is_proxy", [True, False])
def test_the_past_is_read_only_for_matches_whose_severity_depends_on_it(
    database: Database, *, is_proxy: bool
) -> None:
    """The past is not read for a page without matches, or for the published severities."""
    empty(database)
    attempt = sign_in(1, at=timedelta(), operator=None, securityContext={"isProxy": is_proxy})
    options = {"severity_from_evidence": False} if is_proxy else {}
    rules = build_rules({RULE: RuleSettings(options=options)}, read_file=str)
    asked = _statements(database, lambda: read(database, [attempt], rules))
    assert not [statement for statement, _ in asked if "familiar_days WHERE" in " ".join(statement.split())]
    everything = _statements(database, lambda: read(database, [sign_in(2, at=HOUR)]))
    assert [statement for statement, _ in everything if "familiar_days WHERE" in " ".join(statement.split())]


def test_a_limited_number_of_failures_and_days_is_read(database: Database) -> None:
    """A limited number of failures and days is read, by an index."""
    empty(database)
    read(
        database,
        [sign_in(number, at=timedelta(seconds=number), succeeded=False) for number in range(500)]
        + [sign_in(1000 + day, at=-day * DAY) for day in range(1, 31)],
    )
    with database.read() as connection:
        (past,) = read_pasts(connection, ORG, [PastQuery("00u1", "NORD_VPN", to_text(NOW + HOUR))])
    assert len(past.failures) == 3
    assert past.days == {to_text(NOW - day * DAY)[:10] for day in (1, 2, 3)}
    asked = _statements(database, lambda: severity_of(database, sign_in(1, at=HOUR)))
    plans = [] if database.shared else _plans(database, asked)
    for index in (
        "ix_events_failed (org=? AND failed_actor=? AND published>? AND published<?)",
        "ix_alerts_verdicts (org=? AND actor_id=? AND closed_at>?)",
        "PRIMARY KEY (org=? AND actor_id=? AND service=? AND day>? AND day<?)",
    ):
        assert database.shared or any(index in plan for plan in plans), plans


def _statements(database: Database, action: Callable[[], object]) -> list[tuple[str, Any]]:
    """Return the statements that an action sends to the database, with their values."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        sent.append((statement, values))

    engine = database._engine
    sql_event.listen(engine, "before_cursor_execute", note)
    action()
    sql_event.remove(engine, "before_cursor_execute", note)
    return sent


def _plans(database: Database, statements: Sequence[tuple[str, Any]]) -> list[str]:
    """Return the plans of queries. SQLite only."""
    with database.read() as connection:
        return [
            str(row[3])
            for statement, values in statements
            if statement.lstrip().startswith("SELECT")
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        ]


def test_the_migration_fills_the_past_from_history(database: Database) -> None:
    """The upgrade derives familiar days and failed sign-ins from history, as the program records them."""
    empty(database)
    events = [
        sign_in(
            number,
            at=-(number // 6) * DAY,
            succeeded=number % 5 > 0,
            operator=("NORD_VPN", None)[number % 2],
            actor=("00u1", "00u2", "unknown")[number % 3],
            debugContext=NEW_DEVICE if number % 7 == 0 else None,
        )
        for number in range(60)
    ]
    read(database, [*events, sign_in(99, at=DAY, securityContext={"isProxy": False})])
    stored = rows(database, "familiar_days"), rows(database, "events")
    assert len(stored[0]) > 10
    downgrade(database, "0022")
    upgrade(database)
    assert (rows(database, "familiar_days"), rows(database, "events")) == stored


def test_days_that_no_sign_in_looks_back_to_are_pruned(database: Database) -> None:
    """Days that no sign-in can look back to are pruned in batches, and counted by `--dry-run` before."""
    familiar(database, days=5)
    prune = expiry(events=NOW, served=NOW - 2 * DAY)
    assert prune_familiar_days(database, prune, 2).more
    assert not prune_familiar_days(database, prune, 2).more
    assert [row["day"] for row in rows(database, "familiar_days")] == ["2026-10-31", "2026-11-01"]


def test_a_failure_stored_without_history_counts_once_it_is_read_again(database: Database) -> None:
    """A failed sign-in that an older version stored without history is found once it is read again."""
    empty(database)
    failures = [sign_in(number, at=timedelta(), succeeded=False) for number in range(3)]
    with database.write() as connection:
        for attempt in failures:
            connection.exec_driver_sql(
                f"INSERT INTO events (org, published, uuid) VALUES ('{ORG}', '{attempt.published}', '{attempt.uuid}')"  # noqa: S608 -- this test's own
            )
    read(database, failures)
    assert severity_of(database, sign_in(9, at=HOUR)) is Severity.HIGH
