"""Fill an outbox by committing pages, and observe deliveries."""

import asyncio
from datetime import datetime, timedelta

from oktawatch.detection.registry import RuleSet, RuleSettings, build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.engine.routing import Route
from oktawatch.model.event import Event
from oktawatch.notify.composer import Composer
from oktawatch.notify.message import Message
from oktawatch.service.app import rule_text
from oktawatch.store.database import Database
from oktawatch.store.notifiers import notifier_transaction
from tests.support.databases import NOW, ORG
from tests.support.streams import event, page

RULES = build_rules({}, read_file=lambda name: name)
HIGH_RULES = build_rules(
    {"Okta.Anonymizing.VPN.Login": RuleSettings(options={"severity": "HIGH"})}, read_file=lambda name: name
)
APPLE = {"isProxy": True, "ipDetails": {"ipServiceCategories": [{"operator": "APPLE_ICLOUD_RELAY_PROXY"}]}}

COMPOSER = Composer(
    orgs={ORG: "https://acme.okta.com"},
    rules={rule.id: rule_text(rule) for rule in RULES.rules},
)


class Clock:
    """A wall clock and a monotonic clock that a test controls."""

    def __init__(self, at: datetime = NOW) -> None:
        self._passed = timedelta()
        self._set_to = at
        """The wall clock's time if no time had passed."""

    def __call__(self) -> datetime:
        """Return the wall clock's time."""
        return self._set_to + self._passed

    def monotonic(self) -> float:
        """Return the monotonic clock's time."""
        return 1_000 + self._passed.total_seconds()

    def advance(self, **by: float) -> None:
        """Advance both clocks."""
        self._passed += timedelta(**by)

    def reach(self, moment: datetime) -> None:
        """Advance both clocks until the wall clock shows this time."""
        self._passed = moment - self._set_to

    def jump(self, **by: float) -> None:
        """Set the wall clock without advancing the monotonic clock."""
        self._set_to += timedelta(**by)


class Receiver:
    """A channel that records messages. Each call raises the next scripted exception; None means success."""

    def __init__(self, *script: BaseException | None) -> None:
        self.script = list(script)
        self.asked: list[Message] = []
        self.taken: list[Message] = []

    async def send(self, message: Message) -> None:
        """Record a message, or raise the scripted exception."""
        self.asked.append(message)
        if self.script and (error := self.script.pop(0)) is not None:
            raise error
        self.taken.append(message)

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


class Hanging:
    """A channel whose receiver never responds."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def send(self, message: Message) -> None:
        """Wait forever."""
        self.begun.set()
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


def sign_in(
    number: int,
    *,
    at: datetime = NOW,
    who: int | None = None,
    ip: str = "203.0.113.7",
    network: int | None = None,
) -> Event:
    """Return a proxied sign-in. By default each number has a separate user, and so opens a separate alert."""
    person = number if who is None else who
    return event(
        number,
        at=at - NOW,
        actor={"id": f"00u{person}", "alternateId": f"user{person}@example.com", "displayName": f"User {person}"},
        client={"ipAddress": ip},
        securityContext={"isProxy": True, "asNumber": network},
    )  # fmt: skip


def put(
    database: Database,
    *events: Event,
    now: datetime = NOW,
    date: datetime | None = None,
    notifiers: tuple[str, ...] = ("soc",),
    rules: RuleSet = RULES,
) -> None:
    """Commit a page with these events, which enqueues its alerts for these notifiers.

    ``date`` is Okta's time, by default the same as ``now``.
    """
    routes = tuple(Route(notifier=name) for name in notifiers)
    watch = Watch(org=ORG, rules=rules, routes=routes)
    sent = page(events, date=date or now)
    commit_page(database, watch, sent, notify=True, advance=lambda *_: None, now=now)


def mark_sent(database: Database, notification_id: str, *, now: datetime) -> None:
    """Mark a notification as sent, without a change of its notifier's health."""
    with notifier_transaction(database, "soc", now=now) as transaction:
        transaction.mark_sent(notification_id)


def mark_failed(
    database: Database, notification_id: str, *, error: str, next_attempt_at: datetime | None, now: datetime
) -> None:
    """Record a failed attempt, without a change of the notifier's health."""
    with notifier_transaction(database, "soc", now=now) as transaction:
        transaction.mark_failed(notification_id, error=error, next_attempt_at=next_attempt_at)
