"""The channel for people: Slack, Teams, PagerDuty, Opsgenie, mail and a hundred others, by one URL each.

Apprise works in blocking calls that nothing can interrupt, so each message has a thread of its own: one
that hangs holds up neither the event loop nor the program's end, which waits for no such thread. Apprise
knows neither idempotency keys nor Retry-After; what it could not deliver is just tried again.

Its services select their own proxy, by ``HTTPS_PROXY`` and ``NO_PROXY`` alone. Mail trusts the authorities of
`Way.trust`; services behind HTTP trust those of ``REQUESTS_CA_BUNDLE``.

Each service says which form it takes, and gets exactly that one: a conversion in between would undo
what `text` made harmless.

Apprise is imported where it is used: the settings are needed by every command, messages by few.
"""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future

from pydantic import model_validator

from oktawatch.config import NotifierSettings
from oktawatch.config.errors import invalid_value
from oktawatch.config.secret_masking import tokens
from oktawatch.model.severity import Severity
from oktawatch.notify.channel import DIRECT, DeliveryError, Way
from oktawatch.notify.message import Message

_WITHIN = 20  # seconds
_TYPES = {
    Severity.INFO: "info",
    Severity.LOW: "info",
    Severity.MEDIUM: "warning",
    Severity.HIGH: "failure",
    Severity.CRITICAL: "failure",
}


class AppriseSettings(NotifierSettings):
    """Keys of a notifier of type ``apprise``."""

    @model_validator(mode="after")
    def _has_a_url_and_no_secret(self) -> "AppriseSettings":
        self.require_url()
        if self.has_secret("secret"):
            raise invalid_value("secret", expected="expected no secret: only webhooks are signed")
        return self

    def masked_texts(self) -> Iterator[str]:
        """Yield the tokens in the URL too: services show them by themselves."""
        yield from super().masked_texts()
        yield from tokens(self.url)


class AppriseChannel:
    """Sends to one Apprise URL."""

    Settings = AppriseSettings

    def __init__(self, settings: NotifierSettings, way: Way = DIRECT) -> None:
        from apprise import (  # noqa: PLC0415 -- the module's docstring says why
            Apprise,
            AppriseAsset,
            NotifyBase,
            OverflowMode,
            PersistentStoreMode,
        )

        from oktawatch.notify.mail_tls import trust_for_mail  # noqa: PLC0415 -- likewise

        asset = AppriseAsset(
            app_id="oktawatch",
            app_desc="oktawatch",
            app_url="",
            image_url_mask="",  # no pictures from elsewhere, which say who reads a message and when
            image_url_logo="",
            async_mode=False,  # the thread is ours
            http_redirects=False,  # they would carry alerts to where nobody configured
            storage_mode=PersistentStoreMode.MEMORY,
            pgp_autogen=False,
            pem_autogen=False,
        )
        url = settings.url.get_secret_value() if settings.url else ""
        service = Apprise.instantiate(url, asset=asset)
        if service is None:
            raise ValueError("expected a URL that Apprise knows, such as slack://… or mailtos://…")
        service.overflow_mode = OverflowMode.TRUNCATE  # one message stays one
        if service.request_rate_per_sec == NotifyBase.request_rate_per_sec:
            # Seconds from one message to the next. Where it is not the service's own limit, ours is max_per_minute.
            service.request_rate_per_sec = 0
        self._service = service
        self._mail_trust = trust_for_mail(service, way.trust)
        self._apprise = Apprise(asset=asset)
        self._apprise.add(service)
        self._thread_name = f"oktawatch-{settings.name}"

    async def send(self, message: Message) -> None:
        """Send it; who waits may leave, and the thread comes to its end by itself."""
        done: Future[bool] = Future()
        work = (message, done)
        threading.Thread(target=self._run, args=work, name=self._thread_name, daemon=True).start()
        if not await asyncio.wrap_future(done):
            raise DeliveryError(
                f"{self._service.service_name} was not reached or refused it: the log says more"
            )

    async def close(self) -> None:
        """Nothing is held. What has begun ends within its own time-outs."""

    def _run(self, message: Message, done: "Future[bool]") -> None:
        if not done.set_running_or_notify_cancel():
            return
        try:
            done.set_result(self._notify(message))
        except BaseException as error:  # noqa: BLE001 -- handed to who waits for it
            done.set_exception(error)

    def _notify(self, message: Message) -> bool:
        from apprise import NotifyFormat, NotifyType  # noqa: PLC0415 -- likewise

        form = self._service.resolve_format(NotifyFormat.MARKDOWN)
        body = {
            NotifyFormat.MARKDOWN: message.markdown,
            NotifyFormat.HTML: message.html,
            NotifyFormat.TEXT: message.plain,
        }[form]()
        kind = NotifyType(_TYPES[message.severity] if message.severity is not None else "info")
        delivered = self._apprise.notify(
            body=body, title=message.heading, body_format=form, notify_type=kind, timeout=_WITHIN
        )
        if not delivered and self._mail_trust.refusal is not None:
            raise DeliveryError(
                f"its TLS certificate is not accepted ({self._mail_trust.refusal}):"
                " poll.ca_file names the certificates of a private CA"
            )
        return bool(delivered)
