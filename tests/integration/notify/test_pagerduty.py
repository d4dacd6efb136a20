"""PagerDuty gets one incident per alert: opened, updated, and resolved when the alert is closed."""

from collections.abc import AsyncIterator

import pytest
from apprise.plugins import pagerduty
from msgspec import structs
from pydantic import SecretStr

from oktawatch.config import NotifierSettings
from oktawatch.model.notification import NotificationKind
from oktawatch.notify.apprise import AppriseChannel
from tests.support.http import Answer, HttpReceiver, listening
from tests.support.messages import ACTION, due
from tests.support.outbox import COMPOSER

URL = "pagerduty://INVENTEDKEY@INVENTEDTOKEN"


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpReceiver]:
    """Listen at the address that Apprise takes for PagerDuty's."""
    async with listening(*[Answer(202)] * 4) as made:
        monkeypatch.setitem(pagerduty.PAGERDUTY_API_LOOKUP, "us", made.url)
        yield made


async def send(url: str, *kinds: NotificationKind) -> None:
    """Send notifications about one alert, and a test message, over one channel."""
    channel = AppriseChannel(NotifierSettings(type="apprise", url=SecretStr(url)))
    for kind in kinds:
        notification = structs.replace(due(kind), incident="4a0c-incident", content=ACTION)
        await channel.send(COMPOSER.compose(notification))
    await channel.send(COMPOSER.compose(structs.replace(due(NotificationKind.TEST), alert=None)))


async def test_a_closed_alert_resolves_its_incident(receiver: HttpReceiver) -> None:
    """Every message about an alert names its incident, and other messages name none."""
    await send(URL, NotificationKind.OPENED, NotificationKind.RAISED, NotificationKind.CLOSED)

    got = [(one.json["event_action"], one.json.get("dedup_key")) for one in receiver.received]
    assert got == [
        ("trigger", "4a0c-incident"),
        ("trigger", "4a0c-incident"),
        ("resolve", "4a0c-incident"),
        ("trigger", None),
    ]
    opened = receiver.received[0].json["payload"]
    assert opened["summary"].startswith("[MEDIUM] nora@example.com tried to sign in through ExampleVPN")
    assert "oktawatch alerts ack 17" in opened["summary"]
    assert opened["severity"] == "warning"


async def test_a_key_in_the_url_is_kept(receiver: HttpReceiver) -> None:
    """A key in the notifier's URL puts all messages into one incident."""
    await send(f"{URL}/?dedup=everything", NotificationKind.OPENED)

    assert [one.json["dedup_key"] for one in receiver.received] == ["everything", "everything"]
