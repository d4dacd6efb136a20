"""Sessions that continue from another address or client."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from oktawatch.detection.windows import SequenceInWindow
from oktawatch.model.event import Event
from oktawatch.model.history import Column, HistoryRow
from oktawatch.model.severity import Severity

_START = "user.session.start"


@dataclass(frozen=True, kw_only=True)
class SessionCookieReplay(SequenceInWindow):
    """A session that changes its address or client, where one of the clients is a program."""

    id: ClassVar[str] = "Okta.Session.Cookie.Replay"
    name: ClassVar[str] = "Okta AiTM Session Cookie Replay"
    description: ClassVar[str] = (
        "Soon after its start, a session was used from another address or by another client, and one of the "
        "clients is an HTTP library or a headless browser. This is typical of an adversary in the middle who "
        "has stolen the session cookie."
    )
    runbook: ClassVar[str] = (
        "End the session at once and reset the user's factors, because the cookie is stolen. Find the phishing "
        "page in the user's mail and browser history, and find other users who visited it."
    )
    false_positives: ClassVar[str] = "Automated browser tests, scripts that use their owner's cookies."
    mitre: ClassVar[tuple[str, ...]] = ("TA0006:T1539", "TA0005:T1550.004")
    references: ClassVar[tuple[str, ...]] = (
        "https://attack.mitre.org/techniques/T1539/",
        "https://attack.mitre.org/techniques/T1550/004/",
    )
    event_types: ClassVar[tuple[str, ...]] = (_START, "policy.evaluate_sign_on", "user.authentication.sso")
    column: ClassVar[Column] = "root_session_id"
    keyed_by: ClassVar[tuple[str, ...]] = ("root_session_id", "actor_alternate_id")

    severity: Severity = Severity.HIGH
    dedup_period: timedelta = timedelta(hours=24)
    window: timedelta = timedelta(minutes=30)
    agents: tuple[str, ...] = (
        "python-requests",
        "curl/",
        "httpx",
        "aiohttp",
        "Go-http-client",
        "Java/",
        "okhttp",
    )
    """User-Agent prefixes of programs."""
    agent_parts: tuple[str, ...] = ("Headless",)
    """User-Agent substrings of automated browsers."""

    def takes(self, row: HistoryRow) -> bool:
        """The actor is a user, not Okta's own actor."""
        return row.actor_alternate_id != "system@okta.com"

    def starts(self, row: HistoryRow) -> bool:
        """An event started the session."""
        return row.event_type == _START

    def follows(self, row: HistoryRow) -> bool:
        """The event uses the session and does not start it."""
        return row.event_type != _START

    def suspicious(self, rows: Sequence[HistoryRow]) -> bool:
        """The address or client changed, and one of the clients is a program."""
        addresses = {row.client_ip for row in rows} - {None}
        agents = {row.user_agent for row in rows} - {None}
        return (len(addresses) > 1 or len(agents) > 1) and any(map(self._is_automated, agents))

    def _is_automated(self, agent: str | None) -> bool:
        return agent is not None and (
            agent.startswith(self.agents) or any(part in agent for part in self.agent_parts)
        )

    def title(self, event: Event) -> str:
        """Return the user and the new address."""
        return f"A session of {event.actor_alternate_id} continued from elsewhere (IP={event.client_ip or 'unknown'})"
