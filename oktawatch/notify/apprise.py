"""The channel for people: Slack, Teams, PagerDuty, Opsgenie, mail and a hundred others, by one URL each.

Apprise works in blocking calls, so each notifier has a thread of its own: one that hangs holds up no
other and never the event loop. It knows neither idempotency keys nor Retry-After; what it could not
deliver is just tried again.

Each service says which form it takes, and gets exactly that one: a conversion in between would undo
what `text` made harmless.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType

from oktawatch.config import NotifierSettings
from oktawatch.model.severity import Severity
from oktawatch.notify.channel import DeliveryError
from oktawatch.notify.message import Message

_WITHIN = 20  # seconds
_TYPES = {
    Severity.INFO: NotifyType.INFO,
    Severity.LOW: NotifyType.INFO,
    Severity.MEDIUM: NotifyType.WARNING,
    Severity.HIGH: NotifyType.FAILURE,
    Severity.CRITICAL: NotifyType.FAILURE,
}


class AppriseChannel:
    """Sends to one Apprise URL."""

    def __init__(self, settings: NotifierSettings) -> None:
        asset = AppriseAsset(
            app_id="oktawatch",
            app_desc="oktawatch",
            app_url="",
            async_mode=False,  # the thread is ours
            storage_mode="memory",
        )
        url = settings.url.get_secret_value() if settings.url else ""
        service = Apprise.instantiate(url, asset=asset)
        if service is None:
            raise ValueError("expected a URL that Apprise knows, such as slack://… or mailtos://…")
        self._service = service
        self._apprise = Apprise(asset=asset)
        self._apprise.add(service)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"oktawatch-{settings.name}")

    async def send(self, message: Message) -> None:
        """Send it; who waits may leave, and the thread comes to its end by itself."""
        delivered = await asyncio.get_running_loop().run_in_executor(self._thread, self._notify, message)
        if not delivered:
            raise DeliveryError(
                f"{self._service.service_name} was not reached or refused it: the log says more"
            )

    async def close(self) -> None:
        """Begin nothing more. What has begun ends within its own time-outs."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _notify(self, message: Message) -> bool:
        form = self._service.resolve_format(NotifyFormat.MARKDOWN)
        body = {
            NotifyFormat.MARKDOWN: message.markdown,
            NotifyFormat.HTML: message.html,
            NotifyFormat.TEXT: message.plain,
        }[form]()
        kind = _TYPES[message.severity] if message.severity is not None else NotifyType.INFO
        return bool(
            self._apprise.notify(
                body=body, title=message.heading, body_format=form, notify_type=kind, timeout=_WITHIN
            )
        )
