"""Send the heartbeat after a successful poll of every org that this process polls."""

from collections.abc import Awaitable, Callable, Collection

from oktawatch.service.failure_log import FailureLog
from oktawatch.service.supervised import Supervised


class Heartbeat(Supervised[None]):
    """Sends a heartbeat when every org has been polled successfully since the last attempt to send one."""

    def __init__(self, send: Callable[[], Awaitable[None]]) -> None:
        """``send`` sends a heartbeat, or raises DeliveryError."""
        super().__init__(FailureLog("heartbeat"))
        self._send = send
        self._polled: set[str] = set()

    def polled(self, org: str) -> None:
        """Record a successful poll of an org."""
        self._polled.add(org)

    async def round(self, orgs: Collection[str]) -> None:
        """Send a heartbeat if all of ``orgs`` have been polled. These are the orgs that this process polls. Never fails."""
        if not orgs or not self._polled.issuperset(orgs):
            return
        self._polled.clear()
        await self.attempt(self._send)
