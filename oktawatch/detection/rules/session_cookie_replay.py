"""Sessions that go on from somewhere else."""

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
    """A session that is used by a script, or automated from its start, after a change of address or client."""

    id: ClassVar[str] = "Okta.Session.Cookie.Replay"
    name: ClassVar[str] = "Okta AiTM Session Cookie Replay"
    description: ClassVar[str] = (
        "A session was started and soon after used from another address or by another client, and one of the "
        "clients is a program's HTTP library or a browser without a window. An adversary in the middle who "
        "caught the session's cookie looks like this."
    )
    runbook: ClassVar[str] = (
        "End the session at once and reset the user's factors: the cookie is in other hands. Find the phishing "
        "page in the user's mail and history, and whoever else went there."
    )
    false_positives: ClassVar[str] = "Tests that drive a browser, scripts that people feed their own cookies."
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
    """How the User-Agent of a program begins."""
    agent_parts: tuple[str, ...] = ("Headless",)
    """What stands anywhere in the User-Agent of an automated browser."""

    def takes(self, row: HistoryRow) -> bool:
        """Users' sessions, not those of Okta's own actor."""
        return row.actor_alternate_id != "system@okta.com"

    def starts(self, row: HistoryRow) -> bool:
        """The session's beginning."""
        return row.event_type == _START

    def follows(self, row: HistoryRow) -> bool:
        """A use of the session."""
        return row.event_type != _START

    def suspicious(self, rows: Sequence[HistoryRow]) -> bool:
        """A change of address or client, and a program among the clients."""
        addresses = {row.client_ip for row in rows} - {None}
        agents = {row.user_agent for row in rows} - {None}
        return (len(addresses) > 1 or len(agents) > 1) and any(map(self._automated, agents))

    def _automated(self, agent: str | None) -> bool:
        return agent is not None and (
            agent.startswith(self.agents) or any(part in agent for part in self.agent_parts)
        )

    def title(self, event: Event) -> str:
        """Whose, now from where."""
        return f"A session of {event.actor_alternate_id} went on from elsewhere (IP={event.client_ip or 'unknown'})"
