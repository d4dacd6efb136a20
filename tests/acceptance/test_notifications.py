"""Alerts arrive in spite of failing receivers and restarts, with real HTTP, real mail and the real daemon."""

import hashlib
import hmac
import json
import re
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from oktawatch import config
from oktawatch.cli.main import main
from oktawatch.engine.deliver import Notifier
from oktawatch.model.timestamps import utc_now
from oktawatch.notify import webhook
from oktawatch.notify.escalation import Escalation
from oktawatch.service.app import Application
from oktawatch.service.database import open_database
from oktawatch.simulator import SimulatedOrg, running
from tests.support.daemon import STOPS_WITHIN, Daemon, until
from tests.support.databases import NOW
from tests.support.databases import open_database as fresh_database
from tests.support.http import Answer, HttpReceiver, Received, listening, receiving
from tests.support.logclient import event
from tests.support.mail import Mailbox, mailbox, text_of
from tests.support.outbox import Clock, put, sign_in
from tests.support.places import Place

SECRET = "5ca1ab1e"
KEY = "Idempotency-Key"
PEACE = 120  # seconds
SETTINGS = '[poll]\ninterval = "1s"\n[service]\nlog_format = "json"\n'


def notifiers(hook: str, mail: str) -> str:
    """Return the configuration of two notifiers."""
    return (
        f'[[notifiers]]\nname = "soc"\ntype = "webhook"\nurl = "{hook}"\nsecret = "{SECRET}"\n'
        f'[[notifiers]]\nname = "people"\ntype = "apprise"\nurl = "{mail}"\n'
    )


def org_settings(url: str, token: str) -> str:
    """Return the configuration of an org."""
    return f'[[orgs]]\nname = "acme"\nurl = "{url}"\ntoken = "{token}"\n'


def troubled_org() -> SimulatedOrg:
    """Return an org in which Nora has just signed in through an anonymizer."""
    org = SimulatedOrg()
    nora = {"id": "00u1", "alternateId": "nora@example.com", "displayName": "Nora Vale"}
    org.persist(
        event(
            0,
            datetime.now(UTC),
            actor=nora,
            client={"ipAddress": "203.0.113.7"},
            securityContext={"isProxy": True},
        )
    )
    return org


def is_genuine(request: Received) -> bool:
    """Check a request's signature by the code in docs/notifications.md."""
    signed = request.headers["Oktawatch-Timestamp"].encode() + b"." + request.body
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    return request.headers["Oktawatch-Signature"] == f"v1={expected}"


class Desk:
    """Two notifiers of a real configuration that deliver in virtual time, and the command line."""

    def __init__(self, place: Place, hook: HttpReceiver, box: Mailbox) -> None:
        self.place = place
        self.hook = hook
        # Not before Postgres's own time, which the command line uses.
        self.clock = Clock(utc_now())
        self._file = place.folder / "oktawatch.toml"
        text = notifiers(hook.url, box.url) + org_settings("https://acme.okta.com", "00invented")
        self._file.write_text(f'[database]\nurl = "{place.url}"\n' + text, "utf-8")
        settings = config.load(self._file, environ={})
        app = Application(settings)
        self.database = open_database(app)
        composer = app.composer(app.rules)
        self.channels = list(app.channels.values())
        self._notifiers = [
            Notifier(
                one.name,
                channel,
                composer,
                self.database,
                max_age=one.max_age,
                per_minute=one.max_per_minute,
                escalation=Escalation(names=tuple({"soc", "people"} - {one.name})),
                now=self.clock,
                clock=self.clock.monotonic,
            )
            for one, channel in zip(settings.notifiers, self.channels, strict=True)
        ]

    async def pass_(self, minutes: float) -> None:
        """Advance the time, with a delivery round every five seconds, as in the daemon."""
        for _ in range(int(minutes * 12)):
            for notifier in self._notifiers:
                await notifier.round()
            self.clock.advance(seconds=5)

    def call(self, *words: str) -> int:
        """Run a command at the virtual time."""
        with time_machine.travel(self.clock(), tick=False):
            return main([*words, "--config", str(self._file)])


@pytest.fixture
def box() -> Iterator[Mailbox]:
    """Yield a mailbox."""
    with mailbox() as made:
        yield made


@asynccontextmanager
async def desk(place: Place, box: Mailbox, *script: Answer) -> AsyncIterator[Desk]:
    """Yield notifiers whose receiver gives these answers."""
    async with listening(*script) as hook:
        with fresh_database(place):
            made = Desk(place, hook, box)
            try:
                yield made
            finally:
                for channel in made.channels:
                    await channel.close()
                made.database.close()


async def test_every_message_reaches_a_receiver_that_fails_in_every_way(
    place: Place, box: Mailbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every message arrives under one key, signed at each attempt; refused ones arrive after a manual retry."""
    monkeypatch.setattr(webhook, "_TIMEOUT_S", 0.3)
    script = (
        Answer(500), Answer(fault="hang"), Answer(fault="reset"), Answer(429, {"Retry-After": str(PEACE)}), Answer(410),
    )  # fmt: skip
    async with desk(place, box, *script) as at:
        put(
            at.database.database,
            *(sign_in(n, ip=f"198.51.100.{n}") for n in range(4)),
            now=at.clock(),
            date=NOW,
            notifiers=("soc", "people"),
        )
        at.clock.advance(seconds=1)
        await at.pass_(8)

        capsys.readouterr()
        assert at.call("notifications", "list", "--json") == 0
        (dead,) = json.loads(capsys.readouterr().out)
        assert (dead["state"], dead["last_error"], dead["notifier"]) == ("dead", "status 410", "soc")
        assert dead["id"] not in {one.headers[KEY] for one in at.hook.taken}

        assert at.call("notifications", "retry", dead["id"]) == 0
        await at.pass_(1)

    opened = [one for one in at.hook.taken if one.json["type"] == "alert.opened"]
    assert {one.json["alert"]["actor_id"] for one in opened} == {f"00u{n}" for n in range(4)}
    assert len({one.headers[KEY] for one in opened}) == len(opened) == 4
    assert dead["id"] in {one.headers[KEY] for one in opened}
    assert [one.answer for one in at.hook.received][:5] == list(script)
    assert all(is_genuine(one) for one in at.hook.received)
    bodies = defaultdict(set)
    for one in at.hook.received:
        bodies[one.headers[KEY]].add(one.body)
    assert {len(distinct) for distinct in bodies.values()} == {1}
    assert {state for (state,) in place.ask("SELECT state FROM notifications")} == {"sent"}
    _mail_arrived(box)


def _mail_arrived(box: Mailbox) -> None:
    """Check that mail delivered four alerts, and the alarm about the other notifier and its end."""
    subjects = [str(mail["Subject"]) for mail in box.mails]
    assert sorted(subjects[:4]) == [
        f"[MEDIUM] user{n}@example.com tried to sign in through an anonymizing proxy, 198.51.100.{n} (acme)"
        for n in range(4)
    ]
    assert [re.split(r" \d{4}-", subject)[0] for subject in subjects[4:]] == [
        "[ALARM] Notifier soc has been unable to deliver since",
        "[OVER] Notifier soc can deliver again after 2 min",
    ]
    assert "oktawatch notifications list --notifier soc" in text_of(box.mails[4])


async def test_retry_after_is_respected(place: Place, box: Mailbox) -> None:
    """After a Retry-After, nothing is sent before that time, and everything soon after it."""
    async with desk(place, box, Answer(429, {"Retry-After": str(PEACE)})) as at:
        put(at.database.database, sign_in(1), sign_in(2), now=at.clock(), date=NOW, notifiers=("soc",))
        await at.pass_(PEACE / 60)
        before = len(at.hook.received)
        await at.pass_(0.25)

    assert before == 1
    assert len(at.hook.taken) == 2


def test_the_daemon_notifies_by_webhook_and_mail(place: Place, box: Mailbox) -> None:
    """A sign-in through an anonymizer is sent at once, as a signed webhook and as a mail."""
    org = troubled_org()
    with running(org) as url, receiving() as hook:
        text = SETTINGS + notifiers(hook.url, box.url) + org_settings(url, org.token)
        with Daemon(place, text) as daemon:
            until(lambda: bool(hook.taken and box.mails), "an alert in both")
            until(lambda: _states(place) == ["sent", "sent"], "both marked")
            code, _ = daemon.stop()
    (request,), (mail,) = hook.taken, box.mails

    assert code == 0
    assert is_genuine(request)
    assert request.json["type"] == "alert.opened"
    assert mail["Subject"] == (
        "[MEDIUM] nora@example.com tried to sign in through an anonymizing proxy, 203.0.113.7 (acme)"
    )
    mail_text = text_of(mail)
    assert request.json["alert"]["actor_alternate_id"] == "nora@example.com"
    for part in (
        "Nora Vale (nora@example.com)",
        "203.0.113.7",
        request.json["runbook"][:40],
        f"oktawatch alerts ack {request.json['alert']['id']}",
    ):
        assert part in mail_text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_daemon_stops_during_a_delivery(place: Place, number: signal.Signals) -> None:
    """At a stop, the daemon does not wait for the receiver. Nothing is lost, and a repeated message has the same key."""
    org = troubled_org()
    with running(org) as url, receiving(Answer(fault="hang")) as hook:
        hooked = f'[[notifiers]]\nname = "soc"\ntype = "webhook"\nurl = "{hook.url}"\nsecret = "{SECRET}"\n'
        text = SETTINGS + hooked + org_settings(url, org.token)
        with Daemon(place, text) as daemon:
            until(lambda: bool(hook.received), "a message on its way")
            code, seconds = daemon.stop(number)
        assert (code, seconds < STOPS_WITHIN) == (0, True)
        assert _states(place) == ["pending"]
        _let_claims_end(place)
        with Daemon(place, text) as daemon:
            until(lambda: _states(place) == ["sent"], "sent")
            daemon.stop()

    assert len(hook.received) == 2
    assert len({one.headers[KEY] for one in hook.received}) == 1
    assert hook.received[0].body == hook.received[1].body


def _states(place: Place) -> list[Any]:
    if not place.has("notifications"):
        return []
    return [state for (state,) in place.ask("SELECT state FROM notifications")]


def _let_claims_end(place: Place) -> None:
    """Advance the time by the two minutes of a claim, after which another process sends the message."""
    past = (NOW - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    place.run(f"UPDATE notifications SET next_attempt_at = '{past}'")  # noqa: S608 -- our own
