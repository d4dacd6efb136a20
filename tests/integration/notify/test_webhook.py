"""The webhook channel with a real receiver: its requests, results and secrets."""

import hashlib
import hmac
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from oktawatch.config import NotifierSettings
from oktawatch.model.notification import NotificationKind
from oktawatch.notify import webhook
from oktawatch.notify.channel import DeliveryError
from oktawatch.notify.message import Message
from oktawatch.notify.webhook import WebhookChannel, parse_retry_after
from tests.support.databases import NOW
from tests.support.http import Answer, HttpReceiver, listening
from tests.support.messages import ALERT, due
from tests.support.outbox import COMPOSER

MESSAGE = COMPOSER.compose(due())


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    """Yield a receiver."""
    async with listening() as made:
        yield made


async def send(
    url: str, *, secret: str | None = None, message: Message | None = None, **changes: Any
) -> None:
    """Send one message over a channel of its own."""
    settings = NotifierSettings(
        type="webhook", url=SecretStr(url), secret=SecretStr(secret) if secret else None
    )
    channel = WebhookChannel(settings, now=lambda: NOW)
    try:
        await channel.send(message or (COMPOSER.compose(due(**changes)) if changes else MESSAGE))
    finally:
        await channel.close()


def without_alert(kind: NotificationKind, content: dict[str, Any] | None = None) -> Message:
    """Compose a message that is about no alert."""
    return COMPOSER.compose(msgspec.structs.replace(due(kind), alert=None, content=content))


async def refusal(url: str) -> DeliveryError:
    """Return the error of sending."""
    with pytest.raises(DeliveryError) as caught:
        await send(url)
    assert "secret-path" not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


async def test_the_request_contains_the_alert(receiver: HttpReceiver) -> None:
    """The request has the alert's complete row, its type, the key and the time."""
    await send(receiver.url)

    (got,) = receiver.received
    runbook = COMPOSER.rules[ALERT["rule_id"]].runbook
    assert got.json == COMPOSER.compose(due()).body
    assert (got.json["type"], got.json["runbook"]) == ("alert.opened", runbook)
    assert {name: got.json["alert"][name] for name in ALERT} == ALERT
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["Idempotency-Key"] == MESSAGE.id
    assert got.headers["Oktawatch-Timestamp"] == str(int(NOW.timestamp()))
    assert "Oktawatch-Signature" not in got.headers


async def test_a_raised_alert_has_its_own_message_type(receiver: HttpReceiver) -> None:
    """A raised alert has a message type of its own."""
    await send(receiver.url, kind=NotificationKind.RAISED)

    assert receiver.received[0].json["type"] == "alert.raised"


async def test_a_request_is_signed_with_the_secret(receiver: HttpReceiver) -> None:
    """With a secret, the signature is the HMAC-SHA256 of timestamp and body."""
    await send(receiver.url, secret="hunter2hunter2")

    (got,) = receiver.received
    signed = got.headers["Oktawatch-Timestamp"].encode() + b"." + got.body
    expected = hmac.new(b"hunter2hunter2", signed, hashlib.sha256).hexdigest()
    assert got.headers["Oktawatch-Signature"] == f"v1={expected}"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_2xx_status_is_a_delivery(receiver: HttpReceiver, status: int) -> None:
    """Every 2xx is delivered."""
    receiver.script = [Answer(status)]

    await send(receiver.url)

    assert len(receiver.taken) == 1


@pytest.mark.parametrize("status", [400, 404, 410, 413])
async def test_a_permanent_refusal_is_not_retried(receiver: HttpReceiver, status: int) -> None:
    """A message that the receiver refuses permanently is not retried."""
    receiver.script = [Answer(status)] * 2

    assert (await refusal(receiver.url)).final


async def test_a_message_that_is_too_large_is_sent_again_without_its_large_parts(
    receiver: HttpReceiver,
) -> None:
    """After status 413, the message is sent once more without its large parts, with the same key and a new signature."""
    receiver.script = [Answer(413), Answer(204)]

    await send(receiver.url, secret="hunter2hunter2")

    first, second = receiver.received
    assert first.json["alert"]["context"] is not None
    assert second.json == first.json | {"alert": first.json["alert"] | {"context": None}}
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert first.headers["Oktawatch-Signature"] != second.headers["Oktawatch-Signature"]


async def test_a_temporary_refusal_of_the_smaller_message_is_retried(receiver: HttpReceiver) -> None:
    """The status of the slimmed message decides: a busy receiver gets it again later."""
    receiver.script = [Answer(413), Answer(503, {"Retry-After": "17"})]

    error = await refusal(receiver.url)

    assert (error.final, error.retry_after) == (False, timedelta(seconds=17))


async def test_a_message_without_large_parts_is_refused_permanently(receiver: HttpReceiver) -> None:
    """A message without large parts is refused for good by the first 413."""
    receiver.script = [Answer(413), Answer(204)]
    with pytest.raises(DeliveryError) as caught:
        await send(receiver.url, message=without_alert(NotificationKind.TEST))

    assert caught.value.final
    assert len(receiver.received) == 1


async def test_a_large_alarm_names_the_first_ten_orgs(receiver: HttpReceiver) -> None:
    """An alarm about a thousand orgs names the first ten and counts the others."""
    receiver.script = [Answer(413), Answer(204)]
    about = [
        {"what": "org", "name": f"org{n}", "since": "2026-11-02T09:45:30.000Z", "error": "x"}
        for n in range(1000)
    ]

    message = without_alert(NotificationKind.SILENCE, {"state": "raised", "about": about})
    await send(receiver.url, message=message)

    assert receiver.received[1].json == {
        "type": "silence.raised",
        "silence": {"about": about[:10], "more": 990},
    }


@pytest.mark.parametrize("status", [401, 403, 408, 409, 422, 429, 500, 502, 503, 599])
async def test_other_statuses_are_temporary_failures(receiver: HttpReceiver, status: int) -> None:
    """All other statuses are temporary failures."""
    receiver.script = [Answer(status, {"Retry-After": "17"})]

    error = await refusal(receiver.url)

    assert (str(error), error.final, error.retry_after) == (f"status {status}", False, timedelta(seconds=17))


async def test_redirects_are_refused(receiver: HttpReceiver) -> None:
    """A receiver can't send an alert, and its signature, somewhere else."""
    receiver.script = [Answer(307, {"Location": receiver.url})]

    error = await refusal(receiver.url)

    assert "redirects are not followed" in str(error)
    assert not error.final
    assert len(receiver.received) == 1


async def test_a_hanging_receiver_fails_after_the_time_limit(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver that hangs is a failure after the time limit."""
    monkeypatch.setattr(webhook, "_TIMEOUT_S", 0.2)
    receiver.script = [Answer(fault="hang")]

    assert str(await refusal(receiver.url)) == "no answer in time"


async def test_a_broken_connection_is_reported(receiver: HttpReceiver) -> None:
    """The error says that the connection broke."""
    receiver.script = [Answer(fault="reset")]

    assert str(await refusal(receiver.url)) == "it closed the connection without an answer"


async def test_a_refused_connection_is_reported() -> None:
    """The error says that the connection was refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = await refusal(f"http://127.0.0.1:{taken.getsockname()[1]}/secret-path")

    assert str(error).startswith("can't connect: ")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 0 ", 0),
        ("Mon, 02 Nov 2026 12:05:00 GMT", 300),
        ("Mon, 02 Nov 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("9" * 500, 604_800),
        ("Mon, 02 Nov 9999 12:05:00 GMT", 604_800),
    ],
)
def test_retry_after_is_parsed_as_seconds_or_a_date(value: str | None, seconds: int | None) -> None:
    """`Retry-After` is read as seconds or a date, and invalid or excessive values are ignored."""
    assert parse_retry_after(value, NOW) == (None if seconds is None else timedelta(seconds=seconds))
