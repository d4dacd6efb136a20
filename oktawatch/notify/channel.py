"""What a channel is: a way to carry messages to people.

A channel is one file and one entry point in the group ``oktawatch.channels``. The entry point's name is
the notifier's ``type``. It names a class that is made from a notifier's settings and the `Way` that its
requests take. The class's attribute ``Settings``, if it has one, is the model of the notifier's keys: a
`NotifierSettings` with more keys, checks, or a probe. It is loaded whenever a configuration is read, so
what takes long to import is imported where it is used.
"""

import ssl
from datetime import timedelta
from typing import Protocol

from msgspec import Struct

from oktawatch.config.channels import load_channel
from oktawatch.config.notifiers import NotifierSettings
from oktawatch.notify.message import Message


class DeliveryError(Exception):
    """A channel could not deliver; the message says why and holds no secret."""

    def __init__(self, why: str, *, final: bool = False, retry_after: timedelta | None = None) -> None:
        """Say why. ``final``: the receiver will never take it; ``retry_after``: how long it wants peace."""
        super().__init__(why)
        self.final = final
        self.retry_after = retry_after


class Way(Struct, frozen=True, kw_only=True):
    """How requests leave."""

    proxy: str | None = None
    """Its URL, password and all; None for the direct way."""
    trust: ssl.SSLContext | None = None
    """Whose certificates are good; None for the system's authorities alone."""

    def __repr__(self) -> str:
        return f"Way({'by a proxy' if self.proxy else 'direct'})"  # the URL may hold a password


DIRECT = Way()


class Channel(Protocol):
    """A way to carry messages. Belongs to one event loop."""

    async def send(self, message: Message) -> None:
        """Deliver one message; return once the receiver has taken it.

        May be called again for the same message, which keeps its id. Cancelled, it ends at once.
        Raises DeliveryError.
        """

    async def close(self) -> None:
        """Let go of connections and threads."""


def make_channel(settings: NotifierSettings, way: Way) -> Channel:
    """Return the channel of a notifier. Raises ValueError with what is expected of its settings."""
    channel: Channel = load_channel(settings.type)(settings, way)
    return channel
