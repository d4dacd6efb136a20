"""Unusable elements of a page."""

import hashlib

from msgspec import Struct


class RejectedEvent(Struct, frozen=True):
    """An element of a page that can't be parsed as an event."""

    reason: str
    raw: bytes
    """The bytes of the element, unchanged."""

    def __repr__(self) -> str:
        """Return the reason. The bytes can contain a mistyped password, which must not reach logs or tracebacks."""
        return f"RejectedEvent(reason={self.reason!r}, {len(self.raw)} bytes)"

    @property
    def fingerprint(self) -> str:
        """The identity of the element, the same each time it is read."""
        return hashlib.sha256(self.raw).hexdigest()
