"""What could not be used of a page, set aside whole."""

import hashlib

from msgspec import Struct


class RejectedEvent(Struct, frozen=True):
    """One element of a page that no event could be made of."""

    reason: str
    raw: bytes
    """Its bytes as they came."""

    def __repr__(self) -> str:
        """Say why; the bytes, with what somebody typed, stay out of logs and tracebacks."""
        return f"RejectedEvent(reason={self.reason!r}, {len(self.raw)} bytes)"

    @property
    def fingerprint(self) -> str:
        """What makes it the same element when it is read again."""
        return hashlib.sha256(self.raw).hexdigest()
