"""After a good round of every org, the heartbeat."""

from collections.abc import Awaitable, Callable, Collection

from oktawatch.notify.channel import DeliveryError
from oktawatch.service.failure_log import UNEXPECTED, FailureLog


class Heartbeat:
    """Beats when each org has been polled well since the last beat."""

    def __init__(self, beat: Callable[[], Awaitable[None]]) -> None:
        """``beat`` makes the request; raises DeliveryError."""
        self._beat = beat
        self._well: set[str] = set()
        self._failure_log = FailureLog("heartbeat")

    def polled(self, org: str) -> None:
        """Note that a poll of an org ended well."""
        self._well.add(org)

    async def round(self, orgs: Collection[str]) -> None:
        """Beat if these orgs, all that this process is to poll, are well. Never fails."""
        if not orgs or not self._well.issuperset(orgs):
            return
        self._well.clear()
        try:
            await self._beat()
        except DeliveryError as error:
            self._failure_log.failed("unreachable", error)
        except Exception as error:  # noqa: BLE001 -- watching goes on without a heartbeat
            self._failure_log.failed(UNEXPECTED, error)
        else:
            self._failure_log.ended()
