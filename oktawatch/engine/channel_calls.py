"""Call the channels of notifiers.

A channel can be custom code, and raise anything: an exception that the interface does not allow, SystemExit, or a
CancelledError of its own. Whatever it raises must end only the call.
"""

from asyncio import CancelledError, current_task, timeout
from datetime import timedelta
from typing import Any

import structlog

from oktawatch.notify.channel import Channel, DeliveryError
from oktawatch.notify.message import Message

_log: Any = structlog.get_logger(__name__)

SEND_WITHIN = timedelta(seconds=30)
"""Time limit for the receiver to confirm a message."""
CLOSE_WITHIN = timedelta(seconds=5)
"""Time limit for a channel to release its connections."""
_UNEXPECTED = (Exception, SystemExit, CancelledError)


async def send(channel: Channel, message: Message, *, notifier: str) -> None:
    """Send a message through a notifier's channel. Raises DeliveryError for every failure of the channel."""
    limit = timeout(SEND_WITHIN.total_seconds())
    try:
        async with limit:
            await channel.send(message)
    except DeliveryError:
        raise
    except TimeoutError:
        # The channel can have a shorter timeout than SEND_WITHIN.
        when = f"within {SEND_WITHIN.seconds} s" if limit.expired() else "in time"
        raise DeliveryError(f"no answer {when}") from None
    except _UNEXPECTED as error:
        if _is_being_cancelled(error):
            raise
        _log.error("channel_failed", notifier=notifier, notification=message.id, exc_info=error)
        # The text of another library's exception can contain a secret.
        raise DeliveryError(f"unexpected {type(error).__name__}, see the log") from None


async def close(channel: Channel, *, notifier: str) -> None:
    """Release the connections of a notifier's channel. A failure is only logged."""
    try:
        async with timeout(CLOSE_WITHIN.total_seconds()):
            await channel.close()
    except _UNEXPECTED as error:
        if _is_being_cancelled(error):
            raise
        _log.error("channel_not_closed", notifier=notifier, exc_info=error)


def _is_being_cancelled(error: BaseException) -> bool:
    """Return whether an exception cancels the current task, and was not raised by the channel itself."""
    task = current_task()
    return isinstance(error, CancelledError) and task is not None and task.cancelling() > 0
