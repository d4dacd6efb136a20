"""The channel for programs: a signed POST of JSON.

The signature covers the timestamp and the body, so that a receiver can refuse old requests. Each attempt to send a
message has a new signature and the same idempotency key. Only the status and Retry-After of the answer are read,
because the answer's body can quote the message.

aiohttp is imported inside functions, because every command needs this module's settings, but few send requests.
"""

import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import SecretStr, model_validator

from oktawatch import __version__
from oktawatch.config.errors import invalid_value
from oktawatch.config.notifiers import NotifierSettings
from oktawatch.config.validators import check_https
from oktawatch.model.timestamps import utc_now
from oktawatch.notify.channel import DIRECT, DeliveryError, Way
from oktawatch.notify.message import Message

if TYPE_CHECKING:
    import aiohttp

_TIMEOUT_S = 15.0
_CONNECT_TIMEOUT_S = 5.0
_FINAL = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}
)
_LONGEST_WAIT = timedelta(days=7)


class WebhookSettings(NotifierSettings):
    """Keys of a notifier of type ``webhook``."""

    @model_validator(mode="after")
    def _has_an_https_url(self) -> "WebhookSettings":
        self.require_url()
        if self.url is not None:
            try:
                check_https(self.url.get_secret_value())
            except ValueError as wrong:
                raise invalid_value("url", expected=str(wrong)) from None
        return self

    def probe_url(self) -> SecretStr | None:
        """Return the receiver's URL."""
        return self.url


class WebhookChannel:
    """Sends messages to one URL."""

    Settings = WebhookSettings

    def __init__(
        self, settings: NotifierSettings, way: Way = DIRECT, *, now: Callable[[], datetime] = utc_now
    ) -> None:
        if settings.url is None:
            raise ValueError("expected a url")
        self._url = settings.url
        self._secret = settings.secret
        self._way = way
        self._now = now
        self._session: aiohttp.ClientSession | None = None

    async def send(self, message: Message) -> None:
        """Send a message, and require a status of 2xx. If the status is 413, send the message without its large parts."""
        status, retry_after = await self._post(message, message.body)
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and (slim := message.slim_body()) is not None:
            status, retry_after = await self._post(message, slim)
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise DeliveryError(
                _refusal(status),
                final=status in _FINAL,
                retry_after=parse_retry_after(retry_after, self._now()),
            )

    async def _post(self, message: Message, content: dict[str, Any]) -> tuple[int, str | None]:
        """Return the status and the Retry-After header of the answer."""
        import aiohttp  # noqa: PLC0415 -- the module's docstring says why
        import yarl  # noqa: PLC0415 -- the module's docstring says why

        body = msgspec.json.encode(content)
        try:
            async with self._open().post(
                yarl.URL(self._url.get_secret_value()),
                data=body,
                headers=self._headers(message, body),
                allow_redirects=False,
                proxy=self._way.proxy,
                ssl=self._way.trust or True,
            ) as response:
                return response.status, response.headers.get("Retry-After")
        except TimeoutError:
            raise DeliveryError("no answer in time") from None
        except aiohttp.ClientError as error:
            # aiohttp's own text contains the URL, which is a secret.
            raise DeliveryError(explain_client_error(error)) from None

    async def close(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> "aiohttp.ClientSession":
        import aiohttp  # noqa: PLC0415 -- the module's docstring says why

        from oktawatch.resolver import Resolver  # noqa: PLC0415 -- the module's docstring says why

        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=Resolver()),
                timeout=timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session

    def _headers(self, message: Message, body: bytes) -> dict[str, str]:
        timestamp = str(int(self._now().timestamp()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"oktawatch/{__version__}",
            "Idempotency-Key": message.id,
            "Oktawatch-Timestamp": timestamp,
        }
        if self._secret is not None:
            headers["Oktawatch-Signature"] = sign(self._secret.get_secret_value(), timestamp, body)
        return headers


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a body and its timestamp: the HMAC-SHA256 of ``timestamp.body``."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"v1={digest.hexdigest()}"


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Parse a Retry-After header, which has seconds or a date. Return at most `_LONGEST_WAIT`, or None for other text."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:12]), _LONGEST_WAIT.total_seconds()))
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    wait = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    return min(max(wait, timedelta()), _LONGEST_WAIT)


def _refusal(status: int) -> str:
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"status {status}: redirects are not followed, configure the URL that it redirects to"
    return f"status {status}"


def explain_client_error(error: "aiohttp.ClientError") -> str:
    """Return why a request had no answer."""
    import aiohttp  # noqa: PLC0415 -- the module's docstring says why

    match error:
        case aiohttp.ClientHttpProxyError():
            reason = f"the proxy refused the request (status {error.status})"
        case aiohttp.ClientProxyConnectionError():
            reason = "the proxy can't be reached"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            reason = "its TLS certificate is not accepted"
        case aiohttp.ClientConnectorDNSError():
            reason = "its host name can't be resolved"
        case aiohttp.ClientConnectorError():
            reason = f"can't connect: {error.os_error.strerror or 'no reason given'}"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            reason = "it closed the connection without an answer"
        case _:
            reason = f"no usable answer ({type(error).__name__})"
    return reason
