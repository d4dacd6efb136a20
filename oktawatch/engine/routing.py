"""Decide which notifiers get which alerts."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from oktawatch.model.notification import NotificationKind
from oktawatch.model.severity import Severity


class Route(Struct, frozen=True, kw_only=True):
    """The alerts that a notifier gets, and the kinds of notifications about them."""

    notifier: str
    min_severity: Severity = Severity.LOW
    rules: tuple[str, ...] = ("*",)
    """Ids or globs of ids."""
    orgs: tuple[str, ...] = ("*",)
    """Names or globs of names, or tags as ``#tag``."""
    on: tuple[NotificationKind, ...] = (NotificationKind.OPENED, NotificationKind.RAISED)
    """Kinds of notifications about an alert."""

    def wants(
        self, *, kind: NotificationKind, org: str, tags: Sequence[str], rule_id: str, severity: Severity
    ) -> bool:
        """Return whether the notifier gets a notification of this kind about an alert of this severity."""
        return (
            kind in self.on
            and severity >= self.min_severity
            and any(fnmatchcase(rule_id, glob) for glob in self.rules)
            and self.watches(org, tags)
        )

    def watches(self, org: str, tags: Sequence[str]) -> bool:
        """Return whether the notifier gets anything about an org."""
        return any(
            wanted[1:] in tags if wanted.startswith("#") else fnmatchcase(org, wanted) for wanted in self.orgs
        )


def listeners(
    routes: Iterable[Route],
    *,
    kind: NotificationKind,
    org: str,
    tags: Sequence[str],
    rule_id: str,
    severity: Severity,
) -> list[str]:
    """Return the names of the notifiers that get a notification of this kind about an alert."""
    return [
        route.notifier
        for route in routes
        if route.wants(kind=kind, org=org, tags=tags, rule_id=rule_id, severity=severity)
    ]
