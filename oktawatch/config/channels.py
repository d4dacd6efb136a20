"""Find the channels that are installed.

A channel is an entry point, whose name is the ``type`` of a notifier. It is loaded when the configuration
is read, since it brings the model of the notifier's keys.
"""

from importlib.metadata import EntryPoint, distribution, entry_points
from typing import Any

GROUP = "oktawatch.channels"
"""The entry points' group."""


def load_channel(name: str) -> Any:
    """Return the class of a channel. Raise ValueError, with what is expected, when there is none."""
    # Reading every installed package's entry points takes 60 ms, which the built-in channels needn't cost.
    found = _built_in().get(name) or _installed().get(name)
    if found is None:
        raise ValueError(f"expected {' or '.join(_built_in() | _installed())}")
    try:
        return found.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- importing a stranger's package can raise anything
        problem = type(error).__name__
    # Not the error's own words: they are not ours.
    raise ValueError(f"expected a channel that can be loaded: {found.value} raises {problem}")


def _built_in() -> dict[str, EntryPoint]:
    own = distribution("oktawatch").entry_points.select(group=GROUP)
    return {found.name: found for found in own}


def _installed() -> dict[str, EntryPoint]:
    return {found.name: found for found in entry_points(group=GROUP)}
