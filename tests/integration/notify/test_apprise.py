"""The apprise channel against real servers: mail by SMTP, JSON by HTTP."""

import asyncio
import email
import email.policy
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from pydantic import SecretStr

from oktawatch.config import NotifierSettings
from oktawatch.notify.apprise import AppriseChannel
from oktawatch.notify.channel import DeliveryError
from oktawatch.notify.message import Message
from tests.support.http import Answer, listening
from tests.support.outbox import COMPOSER
from tests.support.waiting import eventually
from tests.unit.notify.test_message import due

HOSTILE = "<!channel> @everyone [Sign in](https://evil.example.org) <img src=x>\r\nBcc: eve@example.org"


class Mailbox:
    """Takes every mail, or refuses it while ``full``."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.full = False
        self.hold: threading.Event | None = None

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 -- aiosmtpd's name
        """Take it."""
        if self.hold is not None:
            await asyncio.to_thread(self.hold.wait)
        if self.full:
            return "452 Insufficient system storage"
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, str]]:
    """Give a mailbox, and the URL by which Apprise reaches it."""
    made = Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Controller(made, hostname="127.0.0.1", port=port)
    server.start()
    yield made, f"mailto://127.0.0.1:{port}?from=oktawatch@example.com&to=soc@example.com"
    server.stop()


async def send(url: str, message: Message) -> None:
    """Send one message over a channel of its own."""
    channel = AppriseChannel(NotifierSettings(type="apprise", name="chat", url=SecretStr(url)))
    try:
        await channel.send(message)
    finally:
        await channel.close()


def text_of(mail: EmailMessage) -> str:
    """Give what a person reads."""
    body = mail.get_body(("html", "plain"))
    assert body is not None
    return str(body.get_content())


async def test_a_mail_arrives(mailbox: tuple[Mailbox, str]) -> None:
    """With a subject to sort by, and everything else in it."""
    box, url = mailbox

    await send(url, COMPOSER.compose(due()))

    (mail,) = box.mails
    assert mail["Subject"] == "[MEDIUM] Okta Sign-In from VPN Anonymizer in acme"
    assert mail["To"] == "soc@example.com"
    assert "oktawatch alerts ack 17" in text_of(mail)
    assert 'href="https://acme-admin.okta.com/report/system_log_2?search=' in text_of(mail)


async def test_a_hostile_mail_does_nothing(mailbox: tuple[Mailbox, str]) -> None:
    """No header, recipient, tag or link comes from an event."""
    box, url = mailbox

    await send(
        url, COMPOSER.compose(due(title=HOSTILE, actor_display_name=HOSTILE, org=HOSTILE, rule_id=HOSTILE))
    )

    (mail,) = box.mails
    assert mail["Bcc"] is None
    assert "\n" not in mail["Subject"]
    assert "<img" not in text_of(mail)
    assert "://evil" not in text_of(mail)
    assert "@everyone" not in text_of(mail)


async def test_a_full_mailbox(mailbox: tuple[Mailbox, str]) -> None:
    """What the server refuses is not delivered, and the error names the service alone."""
    box, url = mailbox
    box.full = True

    with pytest.raises(DeliveryError) as caught:
        await send(url, COMPOSER.compose(due()))

    assert not caught.value.final
    assert "soc@" not in str(caught.value)
    assert box.mails == []


async def test_a_server_that_is_slow_holds_up_nobody(mailbox: tuple[Mailbox, str]) -> None:
    """The event loop goes on, and who waits can leave."""
    box, url = mailbox
    box.hold = threading.Event()
    waiting = asyncio.create_task(send(url, COMPOSER.compose(due())))
    await asyncio.sleep(0)
    turns = 0
    while turns < 20:
        await asyncio.sleep(0.005)
        turns += 1
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    assert waiting.cancelled()
    box.hold.set()
    await eventually(lambda: not any("oktawatch-chat" in thread.name for thread in threading.enumerate()))


async def test_a_service_behind_http() -> None:
    """Apprise's JSON service gets the heading and the text; a refusal is a failed attempt."""
    async with listening(Answer(200), Answer(500)) as receiver:
        url = receiver.url.replace("http://", "json://")
        await send(url, COMPOSER.compose(due()))
        with pytest.raises(DeliveryError):
            await send(url, COMPOSER.compose(due()))

    assert receiver.received[0].json["title"] == "[MEDIUM] Okta Sign-In from VPN Anonymizer in acme"
    assert "**Acknowledge:** `oktawatch alerts ack 17`" in receiver.received[0].json["message"]


async def test_its_log_holds_no_address(
    mailbox: tuple[Mailbox, str], caplog: pytest.LogCaptureFixture
) -> None:
    """What Apprise says of a failure at the level that is heard names no token."""
    del mailbox
    with caplog.at_level(logging.WARNING, logger="apprise"), pytest.raises(DeliveryError):
        await send("json://127.0.0.1:1/4f1c-secret-path", COMPOSER.compose(due()))

    assert "secret-path" not in caplog.text
