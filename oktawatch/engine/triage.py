"""Apply a person's decision about alerts, and enqueue the notifications about it."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from oktawatch.engine.routing import Route, listeners
from oktawatch.model.notification import NotificationKind
from oktawatch.store.database import Database
from oktawatch.store.triage import Action, Decision, triage_transaction

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
    """Apply a decision to all of these alerts or to none.

    For each acknowledged or closed alert, enqueue a notification to each notifier whose route includes the alert.
    ``tags`` are the orgs' tags, by org. Raises StoreError, such as TriageError.
    """
    kind = _NOTIFICATION_KINDS.get(decision.action)
    with triage_transaction(database, ids, now=now) as triage:
        notifiers = {
            alert_id: listeners(
                routes,
                kind=kind,
                org=alert["org"],
                tags=tags.get(alert["org"], ()),
                rule_id=alert["rule_id"],
                severity=alert["severity"],
            )
            for alert_id, alert in triage.alerts.items()
            if kind is not None
        }
        triage.apply(decision, kind, notifiers)
