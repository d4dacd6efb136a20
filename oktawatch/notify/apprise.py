"""The channel for people: Slack, Teams, PagerDuty, Opsgenie, mail and a hundred others, each configured by one URL.

Apprise blocks in calls that nothing can interrupt, so each message is sent by its own thread. A thread that
hangs delays neither the event loop nor the end of the program. Apprise supports neither idempotency keys
nor Retry-After; a message that it did not deliver is tried again.

Apprise takes the proxy only from ``HTTPS_PROXY`` and ``NO_PROXY``. Mail trusts the authorities of `Way.trust`; HTTP services
trust those of ``REQUESTS_CA_BUNDLE``.

Each service gets the message in the format that it asks for. A conversion by Apprise would undo the escaping
by `notify.text`.

PagerDuty keeps incidents. All messages about one alert name the same incident, so that a message about a raised
severity updates the incident, and a message about a closed alert resolves it. Apprise can't acknowledge an incident.

Apprise is imported inside functions, because every command needs this module's settings, but few send messages.
"""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from copy import copy
from typing import TYPE_CHECKING

from pydantic import model_validator

from oktawatch.config.errors import invalid_value
from oktawatch.config.notifiers import NotifierSettings
from oktawatch.config.secret_masking import tokens
from oktawatch.model.severity import Severity
from oktawatch.notify.channel import DIRECT, DeliveryError, Way
from oktawatch.notify.message import Message

if TYPE_CHECKING:
    from apprise import NotifyBase

_TIMEOUT_S = 20
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

    @model_validator(mode="after")
    def _acknowledges_no_incident(self) -> "AppriseSettings":
        is_pagerduty = self.url is not None and self.url.get_secret_value().lower().startswith("pagerduty:")
        if is_pagerduty and "acknowledged" in self.on:
            expected = 'expected no "acknowledged": Apprise only opens and resolves incidents of PagerDuty'
            raise invalid_value("on", expected=expected)
        return self

    def masked_texts(self) -> Iterator[str]:
        """Also yield the tokens in the URL, because services can log a token without the URL."""
        yield from super().masked_texts()
        yield from tokens(self.url)


class AppriseChannel:
    """Sends messages to one Apprise URL."""

    Settings = AppriseSettings

    def __init__(self, settings: NotifierSettings, way: Way = DIRECT) -> None:
        from apprise import (  # noqa: PLC0415 -- the module's docstring says why
            Apprise,
            AppriseAsset,
            NotifyBase,
            OverflowMode,
            PersistentStoreMode,
        )

        from oktawatch.notify.mail_tls import trust_for_mail  # noqa: PLC0415 -- the module's docstring says why

        asset = AppriseAsset(
            app_id="oktawatch",
            app_desc="oktawatch",
            app_url="",
            image_url_mask="",  # remote pictures would reveal who reads a message and when
            image_url_logo="",
            async_mode=False,
            http_redirects=False,  # they could lead alerts to an address that nobody configured
            storage_mode=PersistentStoreMode.MEMORY,
            pgp_autogen=False,
            pem_autogen=False,
        )
        url = settings.url.get_secret_value() if settings.url else ""
        service = Apprise.instantiate(url, asset=asset)
        if service is None:
            raise ValueError("expected a URL that Apprise knows, such as slack://… or mailtos://…")
        service.overflow_mode = OverflowMode.TRUNCATE  # instead of several messages
        if service.request_rate_per_sec == NotifyBase.request_rate_per_sec:
            # This is Apprise's default pause, not a limit of the service. max_per_minute limits the rate instead.
            service.request_rate_per_sec = 0
        self._service = service
        self._mail_trust = trust_for_mail(service, way.trust)
        self._asset = asset
        self._thread_name = f"oktawatch-{settings.name}"

    async def send(self, message: Message) -> None:
        """Send a message. When the caller is cancelled, the thread ends by itself."""
        done: Future[bool] = Future()
        work = (message, done)
        threading.Thread(target=self._run, args=work, name=self._thread_name, daemon=True).start()
        if not await asyncio.wrap_future(done):
            raise DeliveryError(
                f"{self._service.service_name} was not reached, or refused the message: the log says more"
            )

    async def close(self) -> None:
        """Do nothing: no connection is kept. Threads end by their own timeouts."""

    def _run(self, message: Message, done: "Future[bool]") -> None:
        if not done.set_running_or_notify_cancel():
            return
        try:
            done.set_result(self._notify(message))
        except BaseException as error:  # noqa: BLE001 -- handed to the caller, who waits for the future
            done.set_exception(error)

    def _notify(self, message: Message) -> bool:
        from apprise import Apprise, NotifyFormat, NotifyType  # noqa: PLC0415 -- the module's docstring says why

        body_format = self._service.resolve_format(NotifyFormat.MARKDOWN)
        body = {
            NotifyFormat.MARKDOWN: message.markdown,
            NotifyFormat.HTML: message.html,
            NotifyFormat.TEXT: message.plain,
        }[body_format]()
        kind = NotifyType(_notify_type(message))
        apprise = Apprise(asset=self._asset)
        apprise.add(_service_for(self._service, message))
        delivered = apprise.notify(
            body=body, title=message.heading, body_format=body_format, notify_type=kind, timeout=_TIMEOUT_S
        )
        if not delivered and self._mail_trust.refusal is not None:
            raise DeliveryError(
                f"its TLS certificate is not accepted ({self._mail_trust.refusal}):"
                " poll.ca_file names the certificates of a private CA"
            )
        return bool(delivered)


def _notify_type(message: Message) -> str:
    if message.type == "alert.closed":
        return "success"  # resolves a PagerDuty incident
    return _TYPES[message.severity] if message.severity is not None else "info"


def _is_pagerduty(service: "NotifyBase") -> bool:
    from apprise.plugins.pagerduty import NotifyPagerDuty  # noqa: PLC0415 -- the module's docstring says why

    return isinstance(service, NotifyPagerDuty)


def _service_for(service: "NotifyBase", message: Message) -> "NotifyBase":
    """Return the service for a message. For PagerDuty, return a copy with the message's incident as deduplication key.

    The original is not changed, because the thread of an earlier message may still use it. A deduplication key in the
    URL takes precedence.
    """
    if message.incident is None or not _is_pagerduty(service) or getattr(service, "dedup", None):
        return service
    incident_service = copy(service)
    vars(incident_service).update(dedup=message.incident, action="map")
    return incident_service
