"""Apply a person's decision about alerts, and notify the notifiers that are configured for it."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from oktawatch.engine.routing import Route, listeners
from oktawatch.model.notification import NotificationKind
from oktawatch.model.severity import Severity
from oktawatch.store.database import Database
from oktawatch.store.triage import Action, Decision, decide

_NOTIFICATION_KINDS = {
    Action.ACKNOWLEDGED: NotificationKind.ACKNOWLEDGED,
    Action.CLOSED: NotificationKind.CLOSED,
}


def decide_and_notify(
    database: Database,
    ids: Sequence[int],
    decision: Decision,
    *,
    routes: Sequence[Route],
    tags: Mapping[str, Sequence[str]],
    now: datetime,
) -> None:
    """Apply a decision to all of these alerts or to none, and enqueue a notification for each notifier on its route.

    ``tags`` are the orgs' tags, by org. Raises TriageError.
    """
    kind = _NOTIFICATION_KINDS.get(decision.action)
    if kind is None:
        decide(database, ids, decision, now=now)
        return

    def recipients(org: str, rule_id: str, severity: Severity) -> list[str]:
        return listeners(
            routes, kind=kind, org=org, tags=tags.get(org, ()), rule_id=rule_id, severity=severity
        )

    decide(database, ids, decision, now=now, kind=kind, recipients=recipients)
