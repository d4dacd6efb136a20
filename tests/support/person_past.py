"""Read sign-ins of people with a past, and the severities that follow from it."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from oktawatch.detection.registry import RuleSet, build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.model.event import Event
from oktawatch.model.severity import Severity
from oktawatch.store.database import Database
from oktawatch.store.triage import Action, Decision
from tests.support.databases import NOW, ORG, DiedError, empty, rows
from tests.support.streams import event, page
from tests.support.triage import decide

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
DEFAULT = build_rules({}, read_file=str)
NEW_DEVICE = {"debugData": {"behaviors": "{New Device=POSITIVE}"}}


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
            raise DiedError

    with suppress(DiedError):
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


def familiar(
    database: Database, *, operator: str | None = "NORD_VPN", days: int = 3, last: int = 1, **changes: Any
) -> None:
    """Empty the database, and read successes on some days. The latest is ``last`` days ago."""
    empty(database)
    read(
        database,
        [sign_in(100 + day, at=-day * DAY, operator=operator, **changes) for day in range(last, last + days)],
    )


def close(database: Database, disposition: str, *, at: timedelta) -> None:
    """Close all alerts."""
    ids = [alert["id"] for alert in rows(database, "alerts")]
    decision = Decision(action=Action.CLOSED, by="ann", disposition=disposition)
    decide(database, ids, decision, now=NOW + at)
