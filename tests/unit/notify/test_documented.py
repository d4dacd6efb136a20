"""The code in docs/notifications.md works."""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from pydantic import SecretStr

from oktawatch import channels, config
from oktawatch.config import NotifierSettings
from oktawatch.model.notification import NotificationKind
from oktawatch.model.sighting import Novelty
from oktawatch.notify.apprise import AppriseChannel
from oktawatch.notify.message import Message
from oktawatch.notify.webhook import WebhookChannel
from tests.support.databases import NOW
from tests.support.http import Received, listening
from tests.support.messages import ALERT, SUCCEEDED, due
from tests.support.outbox import COMPOSER

PAGE = (Path(__file__).parents[3] / "docs" / "notifications.md").read_text("utf-8")
SECRET = "f3b1c0"


def example(language: str, number: int = 0) -> str:
    """Return the page's code block in this language with this index."""
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return found[number]


def shown(message: Message) -> str:
    """Return a message as the page shows it, which leaves out the runbook."""
    return re.sub(r"^(What to do: ).*", r"\1…", f"{message.heading}\n{message.plain()}\n", flags=re.MULTILINE)


@pytest.fixture
async def received() -> Received:
    """Send a signed message, and return the request that the receiver got."""
    async with listening() as receiver:
        settings = NotifierSettings(type="webhook", url=SecretStr(receiver.url), secret=SecretStr(SECRET))
        channel = WebhookChannel(settings, now=lambda: datetime.now(UTC))
        await channel.send(COMPOSER.compose(due(title="Zoë")))
        await channel.close()
    return receiver.received[0]


async def test_the_documented_signature_check_works(received: Received) -> None:
    """A genuine request passes. A changed body, an old timestamp and a different secret are refused."""
    scope: dict[str, Any] = {}
    exec(example("python"), scope)  # noqa: S102 -- what people copy is what is tested
    is_genuine: Callable[..., bool] = scope["is_genuine"]
    timestamp, signature = received.headers["Oktawatch-Timestamp"], received.headers["Oktawatch-Signature"]

    assert is_genuine(SECRET.encode(), timestamp, signature, received.body)
    assert not is_genuine(SECRET.encode(), timestamp, signature, received.body + b" ")
    assert not is_genuine(SECRET.encode(), str(int(timestamp) - 301), signature, received.body)
    assert not is_genuine(b"another", timestamp, signature, received.body)
    assert not is_genuine(SECRET.encode(), "x", "", received.body)


def test_the_documented_openssl_command_computes_the_signature(received: Received, tmp_path: Path) -> None:
    """The documented openssl command computes the same signature."""
    assert shutil.which("openssl")
    (tmp_path / "body").write_bytes(received.body)
    done = subprocess.run(
        ["sh", "-c", example("sh")],
        cwd=tmp_path,
        env={"TIMESTAMP": received.headers["Oktawatch-Timestamp"], "SECRET": SECRET, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert f"v1={done.stdout.split()[-1]}" == received.headers["Oktawatch-Signature"]


def test_the_documented_configuration_is_loaded(tmp_path: Path) -> None:
    """The documented configuration can be loaded."""
    files = {"soc.url": "https://soc.example.com/hook", "soc.secret": SECRET, "people.url": "slack://a/b/c"}
    for name, content in files.items():
        (tmp_path / name).write_text(content, "utf-8")
    org = '[[orgs]]\nname = "acme"\nurl = "https://acme.okta.com"\ntoken = "00invented"\ntags = ["prod"]\n'
    file = tmp_path / "oktawatch.toml"
    file.write_text(org + example("toml") + example("toml", 1), "utf-8")

    assert [notifier.name for notifier in config.load(file, environ={}).notifiers] == [
        "soc",
        "people",
        "siem",
    ]
    assert "oktawatch.channels" in tomllib.loads(example("toml", 2))["project"]["entry-points"]


def test_a_channel_imports_what_is_documented() -> None:
    """The public module exports every class that the section on custom channels names."""
    section = PAGE.partition("## A channel of your own")[2]
    named = set(re.findall(r"`((?:[A-Z][a-z]+)+)`", section))
    assert {"Channel", "DeliveryError", "Message"} <= named <= set(channels.__all__)


@pytest.mark.parametrize(
    "url",
    [
        "slack://T0INVENTD/B0INVENTD/inventedinventedinvented",
        "slack://xoxb-1234-1234-invented/#security",
        "https://prod-00.westeurope.logic.azure.com:443/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=invented-invented-invented-invented-invented",
        "pagerduty://12345678901234567890123456789012@12345678901234567890",
        "opsgenie://00000000-0000-4000-8000-000000000000",
        "mailtos://user:pass@mail.example.com?from=oktawatch@example.com&to=soc@example.com",
        "mailto://127.0.0.1:25?from=oktawatch@example.com&to=soc@example.com",
    ],
)
def test_apprise_accepts_the_documented_urls(url: str) -> None:
    """Apprise accepts each kind of URL that the page names."""
    channel = AppriseChannel(NotifierSettings(type="apprise", url=SecretStr(url)))

    assert f"`{url.partition(':')[0]}:" in PAGE
    assert channel._service.enabled


def test_the_message_of_an_alert() -> None:
    """The documented message is the one that oktawatch sends."""
    context = ALERT["context"] | {
        "security_context": {
            "isProxy": True,
            "ipDetails": {"ipServiceCategories": [{"type": "VPN", "operator": "NORD_VPN"}]},
        },
        "match_severity": "MEDIUM",
        "severity_reasons": ["commercial_vpn"],
    }
    columns = SUCCEEDED | {"severity": "CRITICAL"}
    raised = due(NotificationKind.RAISED, **columns, context=context)
    novelty = Novelty(new=("country", "address"), known_since=NOW, others=2)
    message = COMPOSER.compose(structs.replace(raised, failures_before=3, novelty=novelty))

    assert shown(message) == example("text")
