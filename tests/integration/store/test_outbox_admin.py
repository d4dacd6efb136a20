"""An operator's changes to the outbox are kept while a daemon sends from it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from oktawatch.engine.deliver import plan_messages
from oktawatch.model.notification import DueNotification, NotificationState
from oktawatch.store.database import Database
from oktawatch.store.outbox import claim
from oktawatch.store.outbox_admin import (
    NotificationFilter,
    NotificationStateError,
    abandon,
    count_notifications,
    drop,
    list_notifications,
    retry,
)
from tests.support.databases import NOW, open_database, rows
from tests.support.outbox import mark_failed, mark_sent, put, sign_in
from tests.support.places import Place

LEASE = timedelta(minutes=2)
LATER = NOW + timedelta(days=3)
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    """Yield a database."""
    with open_database(place, "globex") as made:
        yield made


def take(database: Database, *, now: datetime = NOW) -> DueNotification:
    """Claim the next due notification."""
    due = claim(database, "soc", now=now, lease=LEASE)
    assert due is not None
    return due


def make_dead_letter(database: Database, *, times: int = 1) -> str:
    """Claim the next notification, and give it up after some attempts; return its id."""
    for left in reversed(range(times)):
        due = take(database)
        again = NOW if left else None
        mark_failed(database, due.id, error="status 503", next_attempt_at=again, now=NOW)
    return due.id


def row_of(database: Database, one: str) -> dict[str, Any]:
    """Return a notification's row."""
    (found,) = [row for row in rows(database, "notifications") if row["id"] == one]
    return found


def test_a_dead_letter_can_be_retried(database: Database) -> None:
    """A retried dead letter is due at once, its age restarts, and it is sent under its own id."""
    put(database, sign_in(1))
    dead = make_dead_letter(database, times=9)

    retry(database, [dead], now=LATER)

    due = take(database, now=LATER)
    assert (due.id, due.retried_at, due.created_at) == (dead, LATER, NOW)
    assert due.attempts == 1  # the back-off starts again
    mark_sent(database, dead, now=LATER)
    assert row_of(database, dead)["state"] == "sent"


def test_an_attempted_notification_goes_into_no_digest(database: Database) -> None:
    """A notification that was attempted is not folded into a digest, even after a retry by an operator."""
    put(database, sign_in(1))
    dead = make_dead_letter(database)
    put(database, *(sign_in(number) for number in range(2, 30)))
    retry(database, [dead], now=NOW)

    plan_messages(database, "soc", now=NOW, per_minute=10)

    assert row_of(database, dead)["state"] == "pending"
    assert row_of(database, dead)["digest_id"] is None


def test_a_retried_digest_does_not_change(database: Database) -> None:
    """No notification is added to a retried digest."""
    put(database, *(sign_in(number, ip=f"198.51.100.{number}") for number in range(5)))
    plan_messages(database, "soc", now=NOW, per_minute=1)
    dead = make_dead_letter(database)
    retry(database, [dead], now=NOW)
    put(database, *(sign_in(number, ip=f"198.51.100.{number}") for number in range(10, 15)))
    plan_messages(database, "soc", now=NOW, per_minute=1)

    assert [row["digest_id"] for row in rows(database, "notifications")].count(dead) == 5


def test_a_retried_pending_notification_is_due_now(database: Database) -> None:
    """A retried pending notification is due at once."""
    put(database, sign_in(1))
    due = take(database)
    mark_failed(database, due.id, error="no", next_attempt_at=NOW + timedelta(hours=1), now=NOW)

    retry(database, [due.id], now=NOW)

    assert take(database).id == due.id


def test_a_claimed_notification_is_not_sent_again_by_a_retry(database: Database) -> None:
    """A retry during an attempt sends nothing more. If the process has died, the next attempt is due when its lease ends."""
    put(database, sign_in(1))
    due = take(database)

    retry(database, [due.id], now=NOW)

    assert claim(database, "soc", now=NOW, lease=LEASE) is None
    assert take(database, now=NOW + LEASE).id == due.id


def test_a_claimed_notification_can_be_dropped(database: Database) -> None:
    """A dropped notification that the receiver accepts is marked as sent, and otherwise it is not retried."""
    put(database, sign_in(1), sign_in(2))
    first, second = take(database), take(database)

    drop(database, [first.id, second.id])
    mark_sent(database, first.id, now=NOW)
    mark_failed(database, second.id, error="no", next_attempt_at=NOW, now=NOW)

    assert row_of(database, first.id)["state"] == "sent"
    assert row_of(database, second.id)["state"] == "dropped"
    assert claim(database, "soc", now=LATER, lease=LEASE) is None


def test_a_dropped_notification_is_not_sent(database: Database) -> None:
    """Dropped notifications are not sent, whether they were pending or dead."""
    put(database, sign_in(1), sign_in(2))
    dead = make_dead_letter(database)
    waiting = [row["id"] for row in rows(database, "notifications") if row["id"] != dead]

    drop(database, [dead, *waiting])

    assert {row["state"] for row in rows(database, "notifications")} == {"dropped"}
    assert claim(database, "soc", now=LATER, lease=LEASE) is None


@pytest.mark.parametrize("decide", [lambda database, ids: retry(database, ids, now=LATER), drop])
def test_a_command_changes_all_notifications_or_none(database: Database, decide: Any) -> None:
    """If one of several notifications can't be changed, none is changed."""
    put(database, sign_in(1), sign_in(2))
    sent, dead = take(database).id, make_dead_letter(database)
    mark_sent(database, sent, now=NOW)
    before = rows(database, "notifications")

    for wrong, message in (
        (UNKNOWN_ID, "no such notification"),
        (sent, f"is sent .{sent}.: only a pending or dead one"),
    ):
        with pytest.raises(NotificationStateError, match=message):
            decide(database, [dead, wrong])

    assert rows(database, "notifications") == before


def test_retries_and_drops_during_a_delivery(database: Database) -> None:
    """Retries and drops during a delivery send nothing twice at once and leave nothing pending."""
    put(database, *(sign_in(number, ip=f"198.51.100.{number}") for number in range(40)))
    ids = [row["id"] for row in rows(database, "notifications")]

    def send(_sender: int) -> list[str]:
        sent = []
        while due := claim(database, "soc", now=NOW, lease=LEASE):
            plan_messages(database, "soc", now=NOW, per_minute=30)
            sent.append(due.id)
            mark_sent(database, due.id, now=NOW)
        return sent

    def decide(_person: int) -> list[str]:
        for one in ids:
            try:
                retry(database, [one], now=NOW)
            except NotificationStateError:
                continue
        return []

    with ThreadPoolExecutor(4) as threads:
        work = [threads.submit(job, 0) for job in (send, decide, send, decide)]
        sent = [one for each in work for one in each.result()]

    assert len(sent) == len(set(sent))
    assert {row["state"] for row in rows(database, "notifications")} <= {"sent", "digested"}


def test_the_list(database: Database) -> None:
    """Dead letters are listed first, then the latest; sent ones are left out by default, and filters combine."""
    put(database, sign_in(1), notifiers=("soc", "pager"))
    dead = make_dead_letter(database)
    put(database, sign_in(2), now=NOW + timedelta(minutes=1))
    put(database, sign_in(3), now=NOW + timedelta(minutes=2))

    found = list_notifications(database, NotificationFilter(), limit=10)

    assert [(one["state"], one["notifier"]) for one in found] == [
        ("dead", "soc"), ("pending", "soc"), ("pending", "soc"), ("pending", "pager"),
    ]  # fmt: skip
    assert (found[0]["id"], found[0]["last_error"], found[0]["attempts"], found[0]["org"]) == (
        dead,
        "status 503",
        1,
        "acme",
    )
    assert [one["created_at"] for one in found[1:]] == [
        "2026-11-02T12:02:00.000Z", "2026-11-02T12:01:00.000Z", "2026-11-02T12:00:00.000Z",
    ]  # fmt: skip
    for wanted, count in (
        (NotificationFilter(state=NotificationState.DEAD), 1),
        (NotificationFilter(state=NotificationState.SENT), 0),
        (NotificationFilter(notifier="pager"), 1),
        (NotificationFilter(notifier="pager", state=NotificationState.DEAD), 0),
        (NotificationFilter(org="acme"), 4),
        (NotificationFilter(org="globex"), 0),
    ):
        assert (
            len(list_notifications(database, wanted, limit=10))
            == count_notifications(database, wanted)
            == count
        )
    assert len(list_notifications(database, NotificationFilter(), limit=2)) == 2


def test_a_digest_belongs_to_its_alerts_orgs(database: Database) -> None:
    """Filtering by org finds digests with an alert of the org."""
    put(database, *(sign_in(number, ip=f"198.51.100.{number}") for number in range(5)))
    plan_messages(database, "soc", now=NOW, per_minute=1)

    (digest,) = list_notifications(database, NotificationFilter(org="acme"), limit=10)

    assert (digest["kind"], digest["org"]) == ("digest", None)
    assert list_notifications(database, NotificationFilter(org="globex"), limit=10) == []


def test_notifications_of_a_removed_notifier_become_dead_letters(database: Database) -> None:
    """A notification of a removed notifier becomes a dead letter after a day, with the reason."""
    put(database, sign_in(1), notifiers=("soc", "gone", "renamed"))
    put(database, sign_in(2), now=LATER, notifiers=("gone",))

    given_up = abandon(database, ["soc"], before=LATER - timedelta(days=1))

    assert given_up == {"gone": 1, "renamed": 1}
    assert abandon(database, ["soc"], before=LATER - timedelta(days=1)) == {}
    dead = list_notifications(database, NotificationFilter(state=NotificationState.DEAD), limit=10)
    assert {one["notifier"] for one in dead} == {"gone", "renamed"}
    assert all(one["last_error"].startswith("no notifier of this name is configured") for one in dead)
    assert count_notifications(database, NotificationFilter(state=NotificationState.PENDING)) == 2


def test_a_notification_that_became_a_dead_letter_during_an_attempt_can_be_retried(
    database: Database,
) -> None:
    """It is due when the claim of that attempt ends."""
    put(database, sign_in(1))
    claimed = take(database)
    abandon(database, [], before=NOW)

    retry(database, [claimed.id], now=NOW)

    assert claim(database, "soc", now=NOW, lease=LEASE) is None
    assert take(database, now=NOW + LEASE).id == claimed.id


def test_a_dead_letter_is_sent_when_its_notifier_is_configured_again(database: Database) -> None:
    """A retry sends a dead letter of a notifier that is configured again, with its full max_age."""
    put(database, sign_in(1))
    abandon(database, [], before=NOW)
    ids = [row["id"] for row in rows(database, "notifications")]
    retry(database, ids, now=LATER)

    assert abandon(database, [], before=LATER - timedelta(days=1)) == {}
    due = take(database, now=LATER)
    assert (due.attempts, due.retried_at) == (0, LATER)
