"""The share of recently polled elements that were unusable."""

from msgspec import Struct

LARGEST_SHARE = 0.1
"""The largest share of unusable events without an alarm."""
FEWEST = 3
"""The minimum number of unusable events for an alarm."""


class RejectedShare(Struct, frozen=True, kw_only=True):
    """Counts of an org's recent elements. The counts are halved from time to time, so that old elements weigh less."""

    elements: int
    rejected: int
    """The elements that were no usable events."""

    @property
    def too_large(self) -> bool:
        """Whether an alarm is due."""
        return self.rejected >= FEWEST and self.rejected > LARGEST_SHARE * self.elements

    def __str__(self) -> str:
        """Return a sentence for messages."""
        return f"{self.rejected / max(self.elements, 1):.0%} of the events polled lately can't be used"
