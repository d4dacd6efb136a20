"""The apprise channel against real servers: mail by SMTP, JSON by HTTP."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import SecretStr

from oktawatch.config import NotifierSettings
from oktawatch.notify.apprise import AppriseChannel
from oktawatch.notify.channel import DIRECT, DeliveryError, Way
from oktawatch.notify.message import Message
from oktawatch.systemlog.tls import load_ca_file
from tests.support.certificates import PrivateCa
from tests.support.http import Answer, listening
from tests.support.mail import Mailbox, mailbox, text_of
from tests.support.messages import due
from tests.support.outbox import COMPOSER
from tests.support.waiting import eventually

HOSTILE = "<!channel> @everyone [Sign in](https://evil.example.org) <img src=x>\r\nBcc: eve@example.org"


@pytest.fixture
def box() -> Iterator[Mailbox]:
    """Yield a mailbox."""
    with mailbox() as made:
        yield made


async def send(url: str, message: Message, way: Way = DIRECT) -> None:
    """Send one message over a channel of its own."""
    channel = AppriseChannel(NotifierSettings(type="apprise", name="chat", url=SecretStr(url)), way)
    try:
        await channel.send(message)
    finally:
        await channel.close()


async def test_a_mail_has_a_subject_and_the_whole_message(box: Mailbox) -> None:
    """A mail has a subject for sorting and the whole message."""
    await send(box.url, COMPOSER.compose(due()))

    (mail,) = box.mails
    assert mail["Subject"] == "[MEDIUM] nora@example.com tried to sign in through ExampleVPN, Oslo (acme)"
    assert mail["To"] == "soc@example.com"
    assert "oktawatch alerts ack 17" in text_of(mail)
    assert 'href="https://acme-admin.okta.com/report/system_log_2?search=' in text_of(mail)


async def test_apprise_adds_no_delay_between_mails(box: Mailbox) -> None:
    """Mails are sent without Apprise's delay of 5.5 s, and Slack's own limit is kept."""
    slack = AppriseChannel(NotifierSettings(type="apprise", url=SecretStr("slack://T0INVENTD/B0INVENTD/inventedinventedinvented")))  # fmt: skip
    channel = AppriseChannel(NotifierSettings(type="apprise", url=SecretStr(box.url)))
    async with asyncio.timeout(5):
        for _ in range(3):
            await channel.send(COMPOSER.compose(due()))

    assert len(box.mails) == 3
    assert slack._service.request_rate_per_sec == 1.2


async def test_an_event_adds_no_header_recipient_or_link_to_a_mail(box: Mailbox) -> None:
    """An event can't add a header, recipient, tag or link to a mail."""
    await send(
        box.url,
        COMPOSER.compose(due(title=HOSTILE, actor_display_name=HOSTILE, org=HOSTILE, rule_id=HOSTILE)),
    )

    (mail,) = box.mails
    assert mail["Bcc"] is None
    assert "\n" not in mail["Subject"]
    assert "<img" not in text_of(mail)
    assert "://evil" not in text_of(mail)
    assert "@everyone" not in text_of(mail)


async def test_a_refused_mail_is_a_failure(box: Mailbox) -> None:
    """A mail that the server refuses is a failure whose error names only the service."""
    box.full = True

    with pytest.raises(DeliveryError) as caught:
        await send(box.url, COMPOSER.compose(due()))

    assert not caught.value.final
    assert "soc@" not in str(caught.value)
    assert box.mails == []


@pytest.mark.parametrize("starttls", [False, True])
async def test_a_private_ca_is_accepted_only_with_its_file(tmp_path: Path, starttls: bool) -> None:
    """The certificate of a private CA is accepted only with its file; otherwise the error names the reason."""
    ca = PrivateCa(tmp_path)
    message = COMPOSER.compose(due())
    with mailbox(ca.server, starttls=starttls) as box:
        with pytest.raises(DeliveryError, match=r"TLS certificate is not accepted .*poll\.ca_file"):
            await send(box.url, message)
        await send(box.url, message, Way(trust=load_ca_file(ca.file)))
        with pytest.raises(DeliveryError, match="TLS certificate is not accepted"):
            await send(box.url, message)

    assert len(box.mails) == 1


async def test_apprises_verify_no_disables_the_certificate_check(tmp_path: Path) -> None:
    """Apprise's own ``verify=no`` keeps its meaning."""
    with mailbox(PrivateCa(tmp_path).server) as box:
        await send(f"{box.url}&verify=no", COMPOSER.compose(due()))

    assert len(box.mails) == 1


async def test_a_slow_mail_server_does_not_block_the_event_loop(box: Mailbox) -> None:
    """A slow mail server blocks neither the event loop nor a cancellation."""
    box.hold = threading.Event()
    waiting = asyncio.create_task(send(box.url, COMPOSER.compose(due())))
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


async def test_a_json_service_gets_the_heading_and_the_text() -> None:
    """Apprise's JSON service gets the heading and the text; a refusal is a failed attempt."""
    async with listening(Answer(200), Answer(500)) as receiver:
        url = receiver.url.replace("http://", "json://")
        await send(url, COMPOSER.compose(due()))
        with pytest.raises(DeliveryError):
            await send(url, COMPOSER.compose(due()))

    assert (
        receiver.received[0].json["title"]
        == "[MEDIUM] nora@example.com tried to sign in through ExampleVPN, Oslo (acme)"
    )
    assert "**Acknowledge:** `oktawatch alerts ack 17`" in receiver.received[0].json["message"]


async def test_apprises_log_contains_no_token(caplog: pytest.LogCaptureFixture) -> None:
    """Apprise's log messages contain no token."""
    with caplog.at_level(logging.WARNING, logger="apprise"), pytest.raises(DeliveryError):
        await send("json://127.0.0.1:1/4f1c-secret-path", COMPOSER.compose(due()))

    assert "secret-path" not in caplog.text
