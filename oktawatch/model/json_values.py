"""Read untrusted JSON of any shape."""

from typing import Any


def inside(value: Any, *keys: str) -> Any:
    """Return the value at a path of keys. Return None if a key is missing or a value is not an object."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def string(value: Any) -> str:
    """Return a string unchanged, and an empty string for any other value."""
    return value if isinstance(value, str) else ""
