"""How bad a match is."""

import enum


class Severity(enum.IntEnum):
    """Five grades, ordered: ``Severity.INFO < Severity.CRITICAL``.

    Tables, messages and configuration carry the name (``"MEDIUM"``), never the number.
    """

    INFO = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5

    def __str__(self) -> str:
        """Give the name, so that a severity in a text reads as people write it."""
        return self.name

    def raised(self) -> "Severity":
        """Return the next level up, at most CRITICAL."""
        return Severity(min(self + 1, Severity.CRITICAL))

    @classmethod
    def parse(cls, text: str) -> "Severity":
        """Read a name in any case; raise ValueError that lists the names otherwise."""
        try:
            return cls[text.strip().upper()]
        except KeyError:
            raise ValueError(f"expected one of {', '.join(cls.__members__)}") from None
