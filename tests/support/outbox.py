"""Filling an outbox, as pages do, and a channel that a test can watch."""

import asyncio
from datetime import datetime, timedelta
from functools import partial

from oktawatch.detection.registry import RuleSet, RuleSettings, build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.model.event import Event
from oktawatch.model.outbox import DeliveryPlan
from oktawatch.notify.composer import Composer
from oktawatch.notify.folding import CAMPAIGN_MEMORY, CAMPAIGN_TIME, MINUTE, plan_delivery
from oktawatch.notify.message import Message
from oktawatch.notify.routing import Route
from oktawatch.service.app import rule_text
from oktawatch.store.database import Database
from oktawatch.store.digests import plan_outbox
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
    """A wall clock and a monotonic clock that move when a test says so."""

    def __init__(self, at: datetime = NOW) -> None:
        self._passed = timedelta()
        self._set_to = at
        """What the wall clock would show if no time had passed."""

    def __call__(self) -> datetime:
        """Return the wall clock's time."""
        return self._set_to + self._passed

    def monotonic(self) -> float:
        """Return the monotonic clock's time."""
        return 1_000 + self._passed.total_seconds()

    def advance(self, **by: float) -> None:
        """Let time pass."""
        self._passed += timedelta(**by)

    def reach(self, moment: datetime) -> None:
        """Let time pass until the wall clock shows this."""
        self._passed = moment - self._set_to

    def jump(self, **by: float) -> None:
        """Set the wall clock, back or forward, while no time passes."""
        self._set_to += timedelta(**by)


class Receiver:
    """A channel that keeps what it was sent, or fails as its script says: an exception a call, None for good."""

    def __init__(self, *script: Exception | None) -> None:
        self.script = list(script)
        self.asked: list[Message] = []
        self.taken: list[Message] = []

    async def send(self, message: Message) -> None:
        """Take it, or fail."""
        self.asked.append(message)
        if self.script and (error := self.script.pop(0)) is not None:
            raise error
        self.taken.append(message)

    async def close(self) -> None:
        """Nothing is held."""


class Hanging:
    """A channel whose receiver never answers."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def send(self, message: Message) -> None:
        """Wait for ever."""
        self.begun.set()
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Nothing is held."""


def sign_in(
    number: int,
    *,
    at: datetime = NOW,
    who: int | None = None,
    ip: str = "203.0.113.7",
    network: int | None = None,
) -> Event:
    """Give a proxied sign-in of a person of its own, which opens an alert of its own."""
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
    """Commit a page with these events; its alerts wait in the outbox of these notifiers.

    ``date`` is Okta's time, by default the same as ours.
    """
    routes = tuple(Route(notifier=name) for name in notifiers)
    watch = Watch(org=ORG, rules=rules, routes=routes)
    sent = page(events, date=date or now)
    commit_page(database, watch, sent, notify=True, advance=lambda *_: None, now=now)


def fold(database: Database, notifier: str, *, now: datetime, per_minute: int) -> DeliveryPlan:
    """Plan a notifier's next messages, as a delivery round does."""
    return plan_outbox(
        database,
        notifier,
        partial(plan_delivery, now=now, per_minute=per_minute),
        now=now,
        sent_within=MINUTE,
        digests_within=CAMPAIGN_MEMORY,
        opened_within=CAMPAIGN_TIME,
    )
