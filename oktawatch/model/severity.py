"""The severity of a match."""

import enum


class Severity(enum.IntEnum):
    """Five levels, ordered: ``Severity.INFO < Severity.CRITICAL``.

    Tables, messages and configuration contain the name (``"MEDIUM"``), never the number.
    """

    INFO = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5

    def __str__(self) -> str:
        """Return the name."""
        return self.name

    def raised(self) -> "Severity":
        """Return the next higher level, at most CRITICAL."""
        return Severity(min(self + 1, Severity.CRITICAL))

    @classmethod
    def parse(cls, text: str) -> "Severity":
        """Parse a name, case-insensitive. Raises ValueError with the list of names."""
        try:
            return cls[text.strip().upper()]
        except KeyError:
            raise ValueError(f"expected one of {', '.join(cls.__members__)}") from None


RISES_FROM = Severity.MEDIUM
"""The lowest severity that a success after failures raises by one level."""
