"""Load and construct installed channels.

A channel is an entry point, whose name is the ``type`` of a notifier. Channels are loaded with the configuration, because
they define the models of the notifiers' keys.
"""

from importlib.metadata import EntryPoint, distribution, entry_points
from typing import Any

GROUP = "oktawatch.channels"
"""The entry point group."""


def load_channel(name: str) -> Any:
    """Return the class of a channel. Raises ValueError, which says what is expected."""
    # Reading the entry points of all installed packages is slow, and unnecessary for built-in channels.
    entry_point = _built_in().get(name) or _installed().get(name)
    if entry_point is None:
        raise ValueError(f"expected {' or '.join(_built_in() | _installed())}")
    try:
        return entry_point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- importing a third-party package can raise anything
        problem = type(error).__name__
    # The text of the error is left out: it could contain a secret.
    raise ValueError(f"expected a channel that can be loaded: {entry_point.value} raises {problem}")


class ChannelError(ValueError):
    """A channel does not follow the interface. The text says what is expected, and contains no secret."""


def build_channel(name: str, settings: Any, way: Any) -> Any:
    """Construct a channel with the settings of its notifier. Raises ChannelError, or ValueError for a wrong setting."""
    try:
        channel = load_channel(name)(settings, way)
    except ValueError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- a third-party class can raise anything
        problem = f"expected a channel that can be constructed with its settings and a Way: {name} raises {type(error).__name__}"
    else:
        if all(callable(getattr(channel, method, None)) for method in ("send", "close")):
            return channel
        problem = f"expected a channel with the methods send and close: {name} lacks one"
    # Raised outside of the handler, so that it is not chained to the error, whose text could contain a secret.
    raise ChannelError(problem)


def _built_in() -> dict[str, EntryPoint]:
    selected = distribution("oktawatch").entry_points.select(group=GROUP)
    return {entry_point.name: entry_point for entry_point in selected}


def _installed() -> dict[str, EntryPoint]:
    return {entry_point.name: entry_point for entry_point in entry_points(group=GROUP)}
