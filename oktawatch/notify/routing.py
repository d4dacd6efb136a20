"""Which notifier hears of which alert."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from oktawatch.model.severity import Severity


class Route(Struct, frozen=True, kw_only=True):
    """What one notifier wants to hear."""

    notifier: str
    min_severity: Severity = Severity.LOW
    rules: tuple[str, ...] = ("*",)
    """Ids or globs of ids."""
    orgs: tuple[str, ...] = ("*",)
    """Names or globs of names, or tags as ``#tag``."""

    def wants(self, *, org: str, tags: Sequence[str], rule_id: str, severity: Severity) -> bool:
        """Tell whether an alert of this severity belongs to this notifier."""
        return (
            severity >= self.min_severity
            and any(fnmatchcase(rule_id, glob) for glob in self.rules)
            and self.watches(org, tags)
        )

    def watches(self, org: str, tags: Sequence[str]) -> bool:
        """Tell whether this notifier has to do with an org at all."""
        return any(
            wanted[1:] in tags if wanted.startswith("#") else fnmatchcase(org, wanted) for wanted in self.orgs
        )
