"""Which share of what polling brought lately could not be used."""

from msgspec import Struct

LARGEST_SHARE = 0.1
"""Okta's own events are all usable. A single odd one is no reason for an alarm, one in ten is."""
FEWEST = 3
"""With fewer unusable events than that no share says anything."""


class RejectedShare(Struct, frozen=True, kw_only=True):
    """Counts of an org's elements, in which old ones weigh less and less."""

    elements: int
    rejected: int

    @property
    def too_large(self) -> bool:
        """Whether detections miss so much that somebody has to know."""
        return self.rejected >= FEWEST and self.rejected > LARGEST_SHARE * self.elements

    def __str__(self) -> str:
        """Describe it for people."""
        return f"{self.rejected / max(self.elements, 1):.0%} of the events polled lately can't be used"
