"""Notifiers can get people's decisions about alerts."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.deliver import Notifier
from oktawatch.engine.routing import Route
from oktawatch.engine.triage import decide_and_notify
from oktawatch.model.notification import NotificationKind
from oktawatch.model.severity import Severity
from oktawatch.notify.channel import DeliveryError
from oktawatch.store.triage import Action, Decision, TriageError
from tests.support.databases import NOW, ORG, open_database, rows
from tests.support.outbox import COMPOSER, Clock, Receiver, put, sign_in
from tests.support.places import Place

EVERYTHING = tuple(NotificationKind(name) for name in ("opened", "raised", "acknowledged", "closed"))
LISTENING = Route(notifier="soc", on=EVERYTHING)


@pytest.fixture
def database(place: Place) -> Iterator[DatabaseExecutor]:
    """Yield a database with one alert that ``soc`` got."""
    with open_database(place):
        made = DatabaseExecutor(place.url)
        put(made.database, sign_in(1))
        yield made
        made.close()


def decide(
    database: DatabaseExecutor,
    action: Action,
    *ids: int,
    routes: tuple[Route, ...] = (LISTENING,),
    disposition: str | None = None,
    note: str | None = None,
) -> None:
    """Apply a decision of Eva to alerts."""
    decision = Decision(action=action, by="eva", disposition=disposition, note=note)
    decide_and_notify(database.database, ids or (1,), decision, routes=routes, tags={ORG: ("prod",)}, now=NOW)


def notifier(receiver: Receiver, database: DatabaseExecutor, clock: Clock) -> Notifier:
    """Return the notifier ``soc``."""
    return Notifier(
        "soc", receiver, COMPOSER, database,
        max_age=timedelta(days=1), per_minute=10, now=clock, clock=clock.monotonic, jitter=lambda: 0.5,
    )  # fmt: skip


def states(database: DatabaseExecutor) -> list[tuple[str, str, str]]:
    """Return notifier, kind and state of each notification."""
    found = rows(database.database, "notifications")
    return sorted((row["notifier"], row["kind"], row["state"]) for row in found)


async def test_a_receiver_gets_each_decision_about_an_alert(database: DatabaseExecutor) -> None:
    """A receiver gets each decision about an alert with its person, disposition and note, except a reopening."""
    clock, receiver = Clock(), Receiver()
    soc = notifier(receiver, database, clock)
    await soc.round()
    for action, disposition, note in (
        (Action.ACKNOWLEDGED, None, None),
        (Action.CLOSED, "benign", "travelling"),
        (Action.CLOSED, "true_positive", None),
        (Action.REOPENED, None, None),
        (Action.NOTED, None, "asked again"),
    ):
        decide(database, action, disposition=disposition, note=note)
        clock.advance(seconds=1)
        await soc.round()

    got = [(message.type, message.body.get("action")) for message in receiver.taken]
    at = "2026-11-02T12:00:00.000Z"
    assert got == [
        ("alert.opened", None),
        ("alert.acknowledged", {"by": "eva", "disposition": None, "note": None, "at": at}),
        ("alert.closed", {"by": "eva", "disposition": "benign", "note": "travelling", "at": at}),
        ("alert.closed", {"by": "eva", "disposition": "true_positive", "note": None, "at": at}),
    ]
    assert len({message.id for message in receiver.taken}) == 4
    assert len({message.incident for message in receiver.taken}) == 1
    assert receiver.taken[2].body["alert"]["status"] == "closed"


@pytest.mark.parametrize(
    ("changes", "notified"),
    [
        ({}, True),
        ({"on": (NotificationKind.OPENED, NotificationKind.RAISED)}, False),
        ({"on": (NotificationKind.ACKNOWLEDGED,)}, False),
        ({"min_severity": Severity.HIGH}, False),
        ({"rules": ("Okta.Multiple.*",)}, False),
        ({"orgs": ("other",)}, False),
        ({"orgs": ("#prod",)}, True),
    ],
)
async def test_decisions_are_routed_like_their_alert(
    database: DatabaseExecutor, changes: dict[str, Any], notified: bool
) -> None:
    """Decisions are routed by kind, severity, rule, org and tag, like the alert."""
    fields: dict[str, Any] = {"notifier": "pager", "on": EVERYTHING} | changes
    decide(database, Action.CLOSED, routes=(Route(**fields),))

    assert (("pager", "closed", "pending") in states(database)) is notified


async def test_a_pending_opened_is_dropped_when_its_alert_is_closed(database: DatabaseExecutor) -> None:
    """A pending ``opened`` is dropped when its alert is closed, because it would reopen the receiver's incident."""
    clock, receiver = Clock(), Receiver(DeliveryError("status 500"))
    soc = notifier(receiver, database, clock)
    put(database.database, sign_in(1), notifiers=("other",))
    await soc.round()
    decide(database, Action.CLOSED)
    clock.advance(minutes=10)
    await soc.round()

    assert [message.type for message in receiver.taken] == ["alert.closed"]
    assert states(database) == [("soc", "closed", "sent"), ("soc", "opened", "dropped")]


async def test_a_notifier_without_closed_still_gets_pending_notifications(database: DatabaseExecutor) -> None:
    """A notifier without `closed` still gets the pending notifications of a closed alert."""
    decide(database, Action.CLOSED, routes=(Route(notifier="soc"),))
    receiver = Receiver()
    await notifier(receiver, database, Clock()).round()

    assert [message.type for message in receiver.taken] == ["alert.opened"]


async def test_a_refused_decision_enqueues_nothing(database: DatabaseExecutor) -> None:
    """A refused decision changes no alert and enqueues nothing."""
    put(database.database, sign_in(2, ip="198.51.100.9"))
    decide(database, Action.CLOSED, 2)
    before = states(database)
    with pytest.raises(TriageError):
        decide(database, Action.ACKNOWLEDGED, 1, 2)

    assert states(database) == before


async def test_decisions_are_sent_one_by_one_after_new_alerts(database: DatabaseExecutor) -> None:
    """Decisions are sent one by one and not in digests, and a new alert is sent before them."""
    put(database.database, *(sign_in(n, ip=f"198.51.100.{n}") for n in range(2, 20)))
    clock, receiver = Clock(), Receiver()
    soc = notifier(receiver, database, clock)
    for _ in range(3):
        await soc.round()
        clock.advance(minutes=2)
    decide(database, Action.CLOSED, *range(1, 20))
    put(database.database, sign_in(50, at=clock(), ip="192.0.2.9"), now=clock())
    receiver.taken.clear()
    for _ in range(4):
        await soc.round()
        clock.advance(minutes=2)

    types = [message.type for message in receiver.taken]
    assert types == ["alert.opened"] + ["alert.closed"] * 19
