"""The severity of a match by the person's past agrees with a plain recount, however the events were read."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event as sql_event

from oktawatch.detection.registry import RuleSet, RuleSettings, build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.model.event import Event
from oktawatch.model.person_past import PastQuery
from oktawatch.model.severity import Severity
from oktawatch.model.timestamps import to_text
from oktawatch.store.database import Database
from oktawatch.store.person_past import read_pasts
from oktawatch.store.pruning import prune_familiar_days
from oktawatch.store.schema import downgrade, upgrade
from oktawatch.store.triage import Action, Decision
from tests.integration.store.test_sightings import KilledError, expiry
from tests.support.databases import NOW, ORG, empty, open_database, rows
from tests.support.places import Kind, place_of
from tests.support.streams import event, page
from tests.support.triage import decide

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
RULE = "Okta.Anonymizing.VPN.Login"
DEFAULT = build_rules({}, read_file=str)
NEW_DEVICE = {"debugData": {"behaviors": "{New Device=POSITIVE}"}}


@pytest.fixture(scope="module")
def database(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield one database for all tests; each empties it first."""
    with place_of(kind, tmp_path_factory.mktemp("past")) as place, open_database(place, "other") as made:
        yield made


def read(
    database: Database,
    events: Sequence[Event],
    rules: RuleSet = DEFAULT,
    *,
    killed: bool = False,
    org: str = ORG,
) -> None:
    """Commit a page of events; roll it back at the end if ``killed``."""

    def advance(*_: object) -> None:
        if killed:
            raise KilledError

    with suppress(KilledError):
        watch = Watch(org=org, rules=rules)
        commit_page(database, watch, page(events), notify=False, advance=advance, now=NOW)


def sign_in(
    number: int,
    *,
    at: timedelta,
    succeeded: bool = True,
    operator: str | None = "NORD_VPN",
    actor: str = "00u1",
    **changes: Any,
) -> Event:
    """Return a sign-in through an operator, or through an unnamed anonymizer in AS64500."""
    security = {
        "isProxy": True,
        "asNumber": 64500,
        "associatedProxies": [operator] if operator else None,
    }
    return event(
        number,
        at=at,
        actor={"id": actor, "alternateId": f"{actor}@example.com"},
        outcome={"result": "SUCCESS" if succeeded else "FAILURE"},
        **{"securityContext": security} | changes,
    )


def severities(database: Database) -> dict[str, Severity]:
    """Return the severity of each match, by the uuid of its event."""
    return {row["event_uuid"]: row["severity"] for row in rows(database, "matches")}


def severity_of(database: Database, attempt: Event) -> Severity:
    """Read an event, and return the severity of its match."""
    read(database, [attempt])
    return severities(database)[attempt.uuid]


def reasons(database: Database) -> list[str]:
    """Return the reasons for the severity of the latest alert's first match."""
    found: list[str] = rows(database, "alerts")[-1]["context"]["severity_reasons"]
    return found


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


def test_a_match_keeps_its_severity(database: Database) -> None:
    """Failures that arrive late change no recorded match, even when it is read again."""
    empty(database)
    attempt = sign_in(1, at=timedelta(minutes=30))
    assert severity_of(database, attempt) is Severity.MEDIUM
    read(database, [sign_in(number, at=timedelta(), succeeded=False) for number in range(2, 5)])
    assert severity_of(database, attempt) is Severity.MEDIUM


def familiar(
    database: Database, *, operator: str | None = "NORD_VPN", days: int = 3, last: int = 1, **changes: Any
) -> None:
    """Empty the database, and read successes on some days. The latest is ``last`` days ago."""
    empty(database)
    read(
        database,
        [sign_in(100 + day, at=-day * DAY, operator=operator, **changes) for day in range(last, last + days)],
    )


@pytest.mark.parametrize("operator", ["NORD_VPN", None], ids=["operator", "network"])
def test_a_familiar_service_is_a_level_lower(database: Database, operator: str | None) -> None:
    """A service that the person used on three days is a level lower, for failures as well. Other services and people are not."""
    familiar(database, operator=operator)
    assert severity_of(database, sign_in(1, at=timedelta(), operator=operator)) is Severity.LOW
    assert reasons(database) == ["commercial_vpn" if operator else "proxy", "familiar to this person"]
    failed = sign_in(2, at=timedelta(), operator=operator, succeeded=False)
    assert severity_of(database, failed) is Severity.LOW
    other = sign_in(3, at=timedelta(), operator="MULLVAD_VPN")
    assert severity_of(database, other) is Severity.MEDIUM
    elsewhere = {"isProxy": True, "asNumber": 64501}
    assert severity_of(database, sign_in(4, at=timedelta(), securityContext=elsewhere)) is Severity.MEDIUM
    another = sign_in(5, at=timedelta(), operator=operator, actor="00u2")
    assert severity_of(database, another) is Severity.MEDIUM
    unnamed = {"isProxy": True}
    assert severity_of(database, sign_in(6, at=timedelta(), securityContext=unnamed)) is Severity.MEDIUM
    read(database, [sign_in(7, at=timedelta(), operator=operator)], org="other")
    assert severities(database)[sign_in(7, at=timedelta()).uuid] is Severity.MEDIUM


def test_what_is_not_familiar(database: Database) -> None:
    """Two days, failures, new devices (then or now), and days more than thirty days ago don't make a service familiar."""
    familiar(database, days=2, last=2)
    today = [sign_in(number, at=-number * HOUR) for number in range(2, 5)]
    read(database, today)  # the day itself does not count: the attacker may have been there already
    assert severity_of(database, sign_in(1, at=timedelta())) is Severity.MEDIUM
    familiar(database, succeeded=False)
    assert severity_of(database, sign_in(1, at=timedelta())) is Severity.MEDIUM
    familiar(database, debugContext=NEW_DEVICE)
    assert severity_of(database, sign_in(1, at=timedelta())) is Severity.MEDIUM
    familiar(database)
    stolen = sign_in(1, at=timedelta(), debugContext=NEW_DEVICE)
    assert severity_of(database, stolen) is Severity.MEDIUM
    assert severity_of(database, sign_in(2, at=27 * DAY)) is Severity.LOW
    familiar(database)
    assert severity_of(database, sign_in(2, at=28 * DAY)) is Severity.MEDIUM


@pytest.mark.parametrize("operator", ["NORD_VPN", None], ids=["operator", "network"])
def test_the_service_of_the_day_before_is_a_level_lower(database: Database, operator: str | None) -> None:
    """A success through the service of the day before is a level lower, from a known device and place, for the same person and org."""
    familiar(database, operator=operator, days=1)
    assert severity_of(database, sign_in(1, at=timedelta(), operator=operator)) is Severity.LOW
    assert reasons(database) == ["commercial_vpn" if operator else "proxy", "used the day before"]
    place = {"debugData": {"behaviors": "{New Geo-Location=POSITIVE}"}}
    unnamed, elsewhere = {"isProxy": True}, {"isProxy": True, "asNumber": 64501}
    different: tuple[dict[str, Any], ...] = (
        {"succeeded": False}, {"debugContext": NEW_DEVICE}, {"debugContext": place}, {"operator": "MULLVAD_VPN"},
        {"actor": "00u2"}, {"securityContext": elsewhere}, {"securityContext": unnamed}, {"at": 2 * DAY},
    )  # fmt: skip
    for number, changes in enumerate(different):
        attempt = sign_in(10 + number, **{"at": HOUR, "operator": operator} | changes)
        assert severity_of(database, attempt) is Severity.MEDIUM, changes
    read(database, [sign_in(2, at=timedelta(), operator=operator)], org="other")
    assert severities(database)[sign_in(2, at=timedelta()).uuid] is Severity.MEDIUM


@pytest.mark.parametrize(
    "changes", [{"succeeded": False}, {"debugContext": NEW_DEVICE}, {"last": 0}, {"last": 2}], ids=str
)
def test_what_the_day_before_does_not_lower(database: Database, changes: dict[str, Any]) -> None:
    """Neither failures nor new devices the day before count, nor do sign-ins on other days."""
    familiar(database, days=1, **changes)
    assert severity_of(database, sign_in(1, at=HOUR)) is Severity.MEDIUM


def test_the_day_before_lowers_nothing_that_a_verdict_or_a_risk_decides(database: Database) -> None:
    """The day before adds nothing to familiarity or a benign verdict, outweighs no raise, and a true positive ends its effect."""
    risky = {"debugData": {"risk": "{level=HIGH}"}}
    familiar(database, operator="TOR")
    assert severity_of(database, sign_in(1, at=timedelta(), operator="TOR")) is Severity.MEDIUM
    assert reasons(database) == ["tor", "familiar to this person"]
    familiar(database, days=1)
    assert severity_of(database, sign_in(1, at=timedelta(), debugContext=risky)) is Severity.HIGH
    close(database, "true_positive", at=HOUR)
    assert severity_of(database, sign_in(2, at=2 * HOUR)) is Severity.MEDIUM
    familiar(database, operator="TOR", days=1)
    close(database, "benign", at=-HOUR)
    assert severity_of(database, sign_in(1, at=timedelta(), operator="TOR")) is Severity.MEDIUM
    assert reasons(database) == ["tor", "earlier alert closed as benign"]


def test_a_thief_does_not_get_familiar_by_staying(database: Database) -> None:
    """A thief who signs in through the same residential proxy every hour for days stays at MEDIUM or above."""
    empty(database)
    proxy = "OXYLABS_PROXY"
    first = {"debugData": {"behaviors": "{New Device=POSITIVE, New Country=POSITIVE}"}}
    stolen = [sign_in(0, at=timedelta(), debugContext=first, operator=proxy)]
    stolen += [sign_in(number, at=number * HOUR, operator=proxy) for number in range(1, 100)]
    for attempt in stolen:
        read(database, [attempt])
    found = severities(database)
    assert [found[attempt.uuid] for attempt in stolen[:3]] == [
        Severity.CRITICAL,
        Severity.HIGH,
        Severity.HIGH,
    ]
    assert min(found.values()) is Severity.MEDIUM


def close(database: Database, disposition: str, *, at: timedelta) -> None:
    """Close all alerts."""
    ids = [alert["id"] for alert in rows(database, "alerts")]
    decision = Decision(action=Action.CLOSED, by="ann", disposition=disposition)
    decide(database, ids, decision, now=NOW + at)


def test_a_true_positive_ends_familiarity_for_thirty_days(database: Database) -> None:
    """A verdict on any of the person's alerts counts, even one after the sign-in."""
    for closed_at, at, level in (
        (timedelta(), HOUR, Severity.MEDIUM),
        (2 * HOUR, HOUR, Severity.MEDIUM),
        (-DAY, 29 * DAY, Severity.MEDIUM),
        (-DAY, 29 * DAY + timedelta(milliseconds=1), Severity.LOW),
    ):
        empty(database)
        read(database, [sign_in(50, at=-2 * DAY, operator="TOR")])
        close(database, "true_positive", at=closed_at)
        read(database, [sign_in(100 + day, at=at - day * DAY) for day in range(1, 4)])
        assert severity_of(database, sign_in(1, at=at)) is level


@pytest.mark.parametrize("disposition", ["benign", "false_positive"])
def test_a_verdict_lowers_the_next_sign_ins_through_the_service(database: Database, disposition: str) -> None:
    """A benign verdict lowers later sign-ins through the service from a known device, for ninety days."""
    empty(database)
    read(database, [sign_in(50, at=-2 * DAY)])
    close(database, disposition, at=timedelta())
    assert severity_of(database, sign_in(1, at=HOUR)) is Severity.LOW
    assert reasons(database) == ["commercial_vpn", "earlier alert closed as benign"]
    assert severity_of(database, sign_in(2, at=90 * DAY)) is Severity.LOW
    assert severity_of(database, sign_in(3, at=90 * DAY + timedelta(milliseconds=1))) is Severity.MEDIUM
    assert severity_of(database, sign_in(4, at=-HOUR)) is Severity.MEDIUM
    assert severity_of(database, sign_in(5, at=HOUR, debugContext=NEW_DEVICE)) is Severity.MEDIUM
    assert severity_of(database, sign_in(6, at=HOUR, operator="MULLVAD_VPN")) is Severity.MEDIUM
    assert severity_of(database, sign_in(7, at=HOUR, actor="00u2")) is Severity.MEDIUM


def test_the_last_verdict_counts(database: Database) -> None:
    """A true positive after a benign alert ends the effect of the latter; reopening an alert takes its verdict back."""
    empty(database)
    read(database, [sign_in(50, at=-3 * DAY)])
    close(database, "benign", at=-2 * DAY)
    (first,) = [alert["id"] for alert in rows(database, "alerts")]
    read(database, [sign_in(51, at=-2 * DAY + HOUR)])
    second = max(alert["id"] for alert in rows(database, "alerts"))
    worst = Decision(action=Action.CLOSED, by="ann", disposition="true_positive")
    decide(database, [second], worst, now=NOW - DAY)
    assert severity_of(database, sign_in(1, at=timedelta())) is Severity.MEDIUM
    decide(database, [second], Decision(action=Action.REOPENED, by="ann"), now=NOW)
    assert severity_of(database, sign_in(2, at=HOUR)) is Severity.LOW
    decide(database, [first], Decision(action=Action.REOPENED, by="ann"), now=NOW)
    assert severity_of(database, sign_in(3, at=2 * HOUR)) is Severity.MEDIUM


def test_familiarity_and_a_verdict_add_up(database: Database) -> None:
    """A familiar Tor user whose last alert was benign is two levels lower."""
    familiar(database, operator="TOR")
    assert severity_of(database, sign_in(1, at=timedelta(), operator="TOR")) is Severity.MEDIUM
    close(database, "benign", at=HOUR)
    assert severity_of(database, sign_in(2, at=2 * HOUR, operator="TOR")) is Severity.LOW


@pytest.mark.parametrize("is_proxy", [True, False])
def test_the_past_is_read_only_when_it_matters(database: Database, *, is_proxy: bool) -> None:
    """The past is not read for a page without matches, or for the published severities."""
    empty(database)
    attempt = sign_in(1, at=timedelta(), operator=None, securityContext={"isProxy": is_proxy})
    options = {"severity_from_evidence": False} if is_proxy else {}
    rules = build_rules({RULE: RuleSettings(options=options)}, read_file=str)
    asked = _statements(database, lambda: read(database, [attempt], rules))
    assert not [statement for statement, _ in asked if "familiar_days WHERE" in " ".join(statement.split())]
    everything = _statements(database, lambda: read(database, [sign_in(2, at=HOUR)]))
    assert [statement for statement, _ in everything if "familiar_days WHERE" in " ".join(statement.split())]


def test_a_flood_of_failures_is_not_read(database: Database) -> None:
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


def test_days_are_pruned_when_no_sign_in_can_look_back_to_them(database: Database) -> None:
    """Days that no sign-in can look back to are pruned in batches, and counted by `--dry-run` before."""
    familiar(database, days=5)
    prune = expiry(events=NOW, served=NOW - 2 * DAY)
    assert prune_familiar_days(database, prune, 2).more
    assert not prune_familiar_days(database, prune, 2).more
    assert [row["day"] for row in rows(database, "familiar_days")] == ["2026-10-31", "2026-11-01"]


def test_a_row_that_gets_its_history_later_counts(database: Database) -> None:
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
