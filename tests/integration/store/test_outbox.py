"""One process at a time claims a notification, the oldest due one first, and none is lost."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from oktawatch.detection.registry import RuleSettings, build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.engine.routing import Route
from oktawatch.model.notification import DueNotification, EventReference
from oktawatch.model.severity import Severity
from oktawatch.store.database import Database
from oktawatch.store.outbox import anything_due, claim
from tests.support.databases import NOW, ORG, open_database, rows
from tests.support.outbox import APPLE, RULES, mark_failed, mark_sent, put, sign_in
from tests.support.places import Place
from tests.support.streams import event, page

LEASE = timedelta(minutes=2)


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    """Yield a database."""
    with open_database(place) as made:
        yield made


def take(database: Database, notifier: str = "soc", *, now: datetime = NOW) -> DueNotification | None:
    """Claim the next due notification."""
    return claim(database, notifier, now=now, lease=LEASE)


def states(database: Database) -> list[str]:
    """Return the state of each notification, in the order of their alerts."""
    return [row["state"] for row in sorted(rows(database, "notifications"), key=lambda row: (row["alert_id"], row["kind"]))]  # fmt: skip


def test_a_claimed_notification_contains_its_alert_and_first_event(database: Database) -> None:
    """A claimed notification contains the alert's current state and its first event."""
    put(database, sign_in(1), sign_in(2, who=1, at=NOW - timedelta(minutes=3)))

    due = take(database)

    assert due is not None
    assert due.alert is not None
    assert (due.alert["org"], due.alert["event_count"], due.severity) == (ORG, 2, Severity.MEDIUM)
    assert due.event == EventReference(sign_in(2).uuid, NOW - timedelta(minutes=3))


def test_the_oldest_due_notification_is_claimed_first(database: Database) -> None:
    """Notifications are claimed in the order of their due times, and those of one page in the order of their alerts."""
    put(database, sign_in(3), sign_in(1))
    put(database, sign_in(2), now=NOW - timedelta(minutes=1))

    order = [take(database) for _ in range(4)]

    assert [one.alert["actor_id"] if one and one.alert else None for one in order] == [
        "00u2",
        "00u3",
        "00u1",
        None,
    ]


def test_a_claim_lasts_until_its_lease_ends(database: Database) -> None:
    """A process that died holds a message for as long as its lease."""
    put(database, sign_in(1))

    first = take(database)

    assert first is not None
    assert not anything_due(database, "soc", now=NOW + LEASE - timedelta(milliseconds=1))
    assert take(database) is None
    assert anything_due(database, "soc", now=NOW + LEASE)
    again = take(database, now=NOW + LEASE)
    assert again is not None
    assert (again.id, again.alert, first.attempts, again.attempts) == (first.id, first.alert, 0, 1)


def test_concurrent_processes_claim_each_notification_once(database: Database) -> None:
    """Each notification is claimed by exactly one of several processes."""
    put(database, *(sign_in(number) for number in range(40)))

    def work(_worker: int) -> list[str]:
        had = []
        while one := take(database):
            had.append(one.id)
            mark_sent(database, one.id, now=NOW)
        return had

    with ThreadPoolExecutor(4) as workers:
        had = Counter(one for share in workers.map(work, range(4)) for one in share)

    assert sorted(had) == sorted(row["id"] for row in rows(database, "notifications"))
    assert set(had.values()) == {1}
    assert set(states(database)) == {"sent"}


def test_notifiers_are_independent(database: Database) -> None:
    """Each notifier has its own row for an alert."""
    put(database, sign_in(1), notifiers=("soc", "pager"))

    assert take(database) is not None
    assert take(database, "pager") is not None


def raised(database: Database, *, apart: bool) -> None:
    """Enqueue notifications of an alert at INFO, then at MEDIUM, from one page or from two."""
    watch = Watch(org=ORG, rules=RULES, routes=(Route(notifier="soc", min_severity=Severity.INFO),))
    events = (event(1, securityContext=APPLE), event(2))
    for some in [events[:1], events[1:]] if apart else [events]:
        commit_page(database, watch, page(some), notify=True, advance=lambda *_: None, now=NOW)


@pytest.mark.parametrize("apart", [False, True])
def test_a_superseded_notification_is_not_sent(database: Database, *, apart: bool) -> None:
    """An alert whose severity rises before it is sent is sent once, in its current state."""
    raised(database, apart=apart)

    (first, second) = take(database), take(database)

    assert first is not None
    assert (first.kind, first.severity, second) == ("raised", Severity.MEDIUM, None)
    assert states(database) == ["dropped", "pending"]


def test_the_success_of_a_critical_alert_replaces_its_unsent_opening(database: Database) -> None:
    """A CRITICAL alert whose sign-in succeeds before it is sent is sent once, with the success."""
    rules = build_rules(
        {"Okta.Anonymizing.VPN.Login": RuleSettings(options={"severity": "CRITICAL"})}, read_file=str
    )
    watch = Watch(org=ORG, rules=rules, routes=(Route(notifier="soc"),))
    events = [
        event(1, outcome={"result": "FAILURE"}),
        event(2, at=timedelta(seconds=8), outcome={"result": "SUCCESS"}),
    ]
    commit_page(database, watch, page(events), notify=True, advance=lambda *_: None, now=NOW)

    first, second = take(database), take(database)

    assert first is not None
    assert (first.kind, first.severity, second) == ("raised", Severity.CRITICAL, None)
    assert states(database) == ["dropped", "pending"]


def test_a_failed_notification_can_be_superseded(database: Database) -> None:
    """An `opened` that waits for its next attempt is not sent after the `raised`."""
    watch = Watch(org=ORG, rules=RULES, routes=(Route(notifier="soc", min_severity=Severity.INFO),))
    commit_page(database, watch, page([event(1, securityContext=APPLE)]), notify=True, advance=lambda *_: None, now=NOW)  # fmt: skip
    opened = take(database)
    assert opened is not None
    mark_failed(database, opened.id, error="no", next_attempt_at=NOW + timedelta(minutes=1), now=NOW)
    commit_page(database, watch, page([event(2)]), notify=True, advance=lambda *_: None, now=NOW)

    worse = take(database)

    assert worse is not None
    assert worse.kind == "raised"
    mark_sent(database, worse.id, now=NOW)
    assert take(database, now=NOW + timedelta(hours=1)) is None
    assert states(database) == ["dropped", "sent"]


def test_a_raised_severity_is_sent_after_the_first_notification(database: Database) -> None:
    """A receiver that got an alert is also notified of its higher severity."""
    watch = Watch(org=ORG, rules=RULES, routes=(Route(notifier="soc", min_severity=Severity.INFO),))
    for one in (event(1, securityContext=APPLE), event(2)):
        commit_page(database, watch, page([one]), notify=True, advance=lambda *_: None, now=NOW)
        due = take(database)
        assert due is not None
        mark_sent(database, due.id, now=NOW)

    assert states(database) == ["sent", "sent"]


def test_a_notification_that_was_dropped_while_it_was_sent_is_marked_as_sent(database: Database) -> None:
    """A notification that was dropped while it was being sent is marked as sent."""
    put(database, sign_in(1))
    due = take(database)
    assert due is not None
    mark_failed(database, due.id, error="no answer", next_attempt_at=None, now=NOW)

    mark_sent(database, due.id, now=NOW)
    mark_failed(database, due.id, error="too late", next_attempt_at=NOW, now=NOW)

    (row,) = rows(database, "notifications")
    assert (row["state"], row["sent_at"], row["last_error"]) == ("sent", NOW, None)


def test_notifications_of_events_older_than_an_hour_are_late(database: Database) -> None:
    """A notification about an event over an hour old is marked as late."""
    put(database, sign_in(1, at=NOW - timedelta(hours=1)), sign_in(2, at=NOW - timedelta(minutes=61)))

    late = {row["alert_id"]: row["late"] for row in rows(database, "notifications")}

    assert [late[key] for key in sorted(late)] == [False, True]
