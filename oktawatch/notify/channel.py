"""The interface of a channel, which sends messages to one kind of receiver.

A channel is one file and one entry point in the group ``oktawatch.channels``. The entry point's name is
the notifier's ``type``. The channel's class is constructed with a notifier's settings and a `Way`, the proxy and certificates
for requests. For unusable settings, the constructor raises ValueError with what it expects. The class's
optional attribute ``Settings`` is the model of the notifier's keys: a subclass of `NotifierSettings` with
more keys, checks or a probe. The class is loaded whenever a configuration is read, so import slow modules
inside the functions that use them.
"""

import ssl
from datetime import timedelta
from typing import Protocol

from msgspec import Struct

from oktawatch.notify.message import Message


class DeliveryError(Exception):
    """A message could not be delivered. The text of the error is the reason, and contains no secret."""

    def __init__(self, why: str, *, final: bool = False, retry_after: timedelta | None = None) -> None:
        """Create an error with its reason.

        ``final`` is True if the receiver will never accept the message. ``retry_after`` is the delay that the
        receiver asks for.
        """
        super().__init__(why)
        self.final = final
        self.retry_after = retry_after


class Way(Struct, frozen=True, kw_only=True):
    """The proxy and the certificates that requests use."""

    proxy: str | None = None
    """The proxy's URL, including a password. None: no proxy."""
    trust: ssl.SSLContext | None = None
    """The certificates to accept. None: the certificates of the system's authorities."""

    def __repr__(self) -> str:
        return f"Way({'by a proxy' if self.proxy else 'direct'})"  # the URL can contain a password


DIRECT = Way()


class Channel(Protocol):
    """Sends messages. Belongs to one event loop."""

    async def send(self, message: Message) -> None:
        """Send a message, and return when the receiver has accepted it.

        A retried message has the same id. Stop at once when cancelled. Raise DeliveryError if the message
        was not delivered.
        """

    async def close(self) -> None:
        """Release connections and threads."""
