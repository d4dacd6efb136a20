"""The facts about an alert that a report counts."""

from datetime import datetime

from msgspec import Struct

from oktawatch.model.severity import Severity


class AlertFact(Struct, frozen=True, kw_only=True, gc=False):
    """The columns of an alert that a report reads."""

    id: int
    org: str
    rule_id: str
    severity: Severity
    status: str
    disposition: str | None
    first_event_at: datetime
    event_count: int
    successes: int
    failures: int
    actor_id: str | None
    actor_alternate_id: str | None
    client_ip: str | None
    country: str | None
    as_number: int | None
    as_org: str | None
    anonymizer: str | None
    operator: str | None
