"""Notifications of an example alert, and their rendered messages."""

from html.parser import HTMLParser
from typing import Any

from oktawatch.model.notification import DueNotification, EventReference, NotificationKind
from oktawatch.model.severity import Severity
from oktawatch.notify.message import Message
from tests.support.databases import NOW

ALERT: dict[str, Any] = {
    "id": 17, "org": "acme", "rule_id": "Okta.Anonymizing.VPN.Login", "severity": "MEDIUM", "status": "open",
    "title": "Nora Vale <nora@example.com> tried to sign in from an anonymizing proxy - IP=203.0.113.7",
    "actor_id": "00u1", "actor_alternate_id": "nora@example.com", "actor_display_name": "Nora Vale",
    "client_ip": "203.0.113.7", "country": "Norway", "city": "Oslo", "as_number": 64500, "as_org": "Example Net",
    "isp": None, "domain": None, "outcome_result": "FAILURE", "outcome_reason": "INVALID_CREDENTIALS",
    "successes": 0, "failures": 3, "succeeded_at": None, "risen": False, "event_count": 3, "first_event_at": "2026-11-02T12:00:00.000Z", "last_event_at": "2026-11-02T12:05:30.000Z",
    "context": {
        "event_type": "user.session.start",
        "client": {"userAgent": {"rawUserAgent": "ExampleBrowser/1.0 (Windows)", "os": "Windows 10", "browser": "CHROME"}},
        "security_context": {"isProxy": True, "ipDetails": {"ipServiceCategories": [{"type": "VPN", "operator": "EXAMPLE_VPN"}]}},
        "debug_context": {"debugData": {"risk": "{reasons=Anomalous Location, level=HIGH}", "behaviors": "{New Device=POSITIVE}"}},
    },
}  # fmt: skip


def due(kind: NotificationKind = NotificationKind.OPENED, **changes: Any) -> DueNotification:
    """Return the notification of an alert."""
    return DueNotification(
        id="00000000-0000-5000-8000-000000000001",
        notifier="soc",
        kind=kind,
        severity=Severity.MEDIUM,
        attempts=0,
        created_at=NOW,
        alert=ALERT | changes,
        event=EventReference("00000000-0000-4000-8000-000000000001", NOW),
    )


def forms(message: Message) -> tuple[str, str, str]:
    """Return the message as plain text, Markdown and HTML, with its heading."""
    return (
        f"{message.heading}\n{message.plain()}",
        f"{message.heading}\n{message.markdown()}",
        f"<h1>{message.heading}</h1>\n{message.html()}",
    )


SUCCEEDED: dict[str, Any] = {
    "successes": 1, "event_count": 4, "risen": True, "severity": "HIGH", "succeeded_at": "2026-11-02T12:05:30.000Z",
}  # fmt: skip


ACTION = {"by": "eva", "disposition": "benign", "note": "travelling <!channel>", "at": "2026-11-02T13:00:00.000Z"}  # fmt: skip


class Tags(HTMLParser):
    """Collects the tags of an HTML text."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record a tag."""
        self.seen.append((tag, attrs))
