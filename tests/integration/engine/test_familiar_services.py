"""Familiar services and verdicts on earlier alerts change the severity of a person's sign-ins."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from oktawatch.model.severity import Severity
from oktawatch.store.database import Database
from oktawatch.store.triage import Action, Decision
from tests.support.databases import NOW, empty, open_database, rows
from tests.support.person_past import (
    DAY,
    HOUR,
    NEW_DEVICE,
    close,
    familiar,
    read,
    reasons,
    severities,
    severity_of,
    sign_in,
)
from tests.support.places import Kind, place_of
from tests.support.triage import decide


@pytest.fixture(scope="module")
def database(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield one database for all tests; each empties it first."""
    with place_of(kind, tmp_path_factory.mktemp("past")) as place, open_database(place, "other") as made:
        yield made


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


def test_few_days_failures_and_new_devices_make_no_service_familiar(database: Database) -> None:
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
def test_only_successes_from_known_devices_the_day_before_count(
    database: Database, changes: dict[str, Any]
) -> None:
    """Neither failures nor new devices the day before count, nor do sign-ins on other days."""
    familiar(database, days=1, **changes)
    assert severity_of(database, sign_in(1, at=HOUR)) is Severity.MEDIUM


def test_the_day_before_adds_nothing_to_verdicts_familiarity_or_risk(database: Database) -> None:
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


def test_repeated_sign_ins_of_a_thief_stay_at_medium_or_above(database: Database) -> None:
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
