"""Prune a database whose rows have known ages."""

from datetime import datetime, timedelta

from oktawatch.detection.registry import RuleSet, build_rules
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.engine.pruning import Ages, Pruner
from oktawatch.engine.routing import Route
from oktawatch.model.cursor import Cursor
from oktawatch.model.history import SIGN_IN
from oktawatch.model.rejected import RejectedEvent
from oktawatch.store.cursors import mark_swept, move_cursor
from oktawatch.store.database import Database
from oktawatch.store.page_transaction import page_transaction
from oktawatch.store.pruning import Expiry
from tests.support.databases import NOW, ORG, rows
from tests.support.streams import event, page

OTHER = "other"
DAY = timedelta(days=1)
AGES = Ages(events=30 * DAY, alerts=400 * DAY, sightings=180 * DAY, sweep_window=timedelta(hours=2))
SHORT_AGES = Ages(events=DAY, alerts=400 * DAY, sightings=180 * DAY, sweep_window=timedelta(hours=2))
"""Retentions that are shorter than the rules' windows."""
DEFAULT = build_rules({}, read_file=str)
ALL = build_rules({}, enable=["*"], read_file=str)


def pruner(
    executor: DatabaseExecutor,
    rules: RuleSet = ALL,
    *,
    orgs: tuple[str, ...] = (ORG, OTHER),
    ages: Ages = AGES,
    most: int = 3,
    now: datetime = NOW,
) -> Pruner:
    """Create a pruner with the smallest batches."""
    return Pruner(executor, orgs, rules, ages, most=most, pause=timedelta(), now=lambda: now)


def read(
    database: Database,
    *ages: timedelta,
    rules: RuleSet = ALL,
    org: str = ORG,
    rejected: bool = False,
    kind: str = SIGN_IN,
) -> None:
    """Commit a page of events of these ages at the time of the oldest, each of another person."""
    events = [
        event(
            number,
            at=-age,
            eventType=kind,
            actor={"id": f"00u{number}", "alternateId": f"u{number}@example.com"},
            outcome={"result": "SUCCESS"},
        )
        for number, age in ((int(age.total_seconds()), age) for age in ages)
    ]
    commit_page(
        database,
        Watch(org=org, rules=rules, routes=(Route(notifier="soc"),)),
        page(events, rejected=[RejectedEvent("no usable uuid", b"\x00")] if rejected else []),
        notify=True,
        advance=lambda *_: None,
        now=NOW - max(ages),
    )


def expiry(*, events: datetime, served: datetime, sightings: datetime | None = None) -> Expiry:
    """Return an expiry of events before ``events``, and of keys before ``served``."""
    return Expiry(
        org=ORG, events=events, history=events, alerts=events, sightings=sightings or events, served=served,
        familiar=served,
        is_in_history=DEFAULT.is_in_history, backfill_look_back=timedelta(), backfills_active_since=NOW,
    )  # fmt: skip


def expiry_before(moment: datetime, rules: RuleSet) -> Expiry:
    """Return an expiry of everything before a point in time."""
    return Expiry(
        org=ORG, events=moment, history=moment, alerts=moment, sightings=moment, served=moment, familiar=moment,
        is_in_history=rules.is_in_history, backfill_look_back=rules.longest_window, backfills_active_since=NOW - DAY,
    )  # fmt: skip


def record_poll(
    database: Database, until: datetime, *, newest: datetime | None = None, swept: datetime | None = None
) -> None:
    """Record a poll up to a time, with its newest event, and a sweep."""
    began = Cursor(
        filter="",
        query="?",
        began_at=until - 100 * DAY,
        last_published=newest or until,
        last_caught_up_at=until,
    )
    with page_transaction(database, ORG, now=until) as transaction:
        move_cursor(transaction, None, began)
    if swept is not None:
        mark_swept(database, ORG, swept)


def history_ages(database: Database) -> list[int]:
    """Return the ages of the events in history, in days."""
    return [round((NOW - row["published"]) / DAY) for row in rows(database, "history")]
