"""Read JSON whose shape a stranger decided."""

from typing import Any


def inside(value: Any, *keys: str) -> Any:
    """Return the value behind nested keys; None where one is missing or no object is there."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def string(value: Any) -> str:
    """Return a text; any other value is empty."""
    return value if isinstance(value, str) else ""
