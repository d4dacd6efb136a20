"""Alerts count outcomes, and matches store the columns of their events."""

import sqlalchemy as sa
from alembic import op

from oktawatch.store.revision_types import moment, on_postgres

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

EVENT = ("event_type", "outcome", "outcome_reason", "client_ip", "user_agent")
"""The columns that are added to ``matches``."""
SUCCEEDED, FAILED = "m.outcome IN ('SUCCESS', 'ALLOW')", "m.outcome IN ('FAILURE', 'DENY')"


def upgrade() -> None:
    """Add the columns, and fill them from history and alerts."""
    for name in EVENT:
        op.add_column("matches", sa.Column(name, sa.String()))
    for name in ("successes", "failures"):
        op.add_column("alerts", sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text("0")))
    for name in ("succeeded_at", "failed_at"):
        op.add_column("alerts", sa.Column(name, moment()))
    op.add_column("alerts", sa.Column("risen", sa.Boolean(), nullable=False, server_default=sa.false()))
    replace_view(f"alert_id, org, event_uuid, published, {', '.join(EVENT)}")
    _fill_matches()
    _fill_alerts()


def replace_view(columns: str) -> None:
    """Replace ``alert_events``. On Postgres, this keeps the permissions to read it."""
    if not on_postgres():
        op.execute("DROP VIEW alert_events")
    how = "CREATE OR REPLACE" if on_postgres() else "CREATE"
    op.execute(f"{how} VIEW alert_events AS SELECT {columns} FROM matches WHERE alert_id IS NOT NULL")  # noqa: S608 -- names from above


def _fill_matches() -> None:
    values = ", ".join(f"{name} = h.{name}" for name in EVENT)
    op.execute(
        f"UPDATE matches SET {values} FROM history AS h WHERE h.org = matches.org "  # noqa: S608 -- names from above
        "AND h.published = matches.published AND h.uuid = matches.event_uuid AND matches.alert_id IS NOT NULL"
    )
    # History may lack an event. The alert itself has the columns of its first event.
    if on_postgres():
        event_type, agent = "a.context ->> 'event_type'", "a.context #>> '{client,userAgent,rawUserAgent}'"
    else:
        event_type = "json_extract(a.context, '$.event_type')"
        agent = "json_extract(a.context, '$.client.userAgent.rawUserAgent')"
    op.execute(
        f"UPDATE matches SET event_type = {event_type}, outcome = a.outcome_result, "  # noqa: S608 -- names from above
        f"outcome_reason = a.outcome_reason, client_ip = a.client_ip, user_agent = {agent} FROM alerts AS a "
        "WHERE a.id = matches.alert_id AND matches.published = a.anchor AND matches.event_type IS NULL"
    )


def _fill_alerts() -> None:
    def of_matches(what: str, condition: str) -> str:
        return f"(SELECT {what} FROM matches AS m WHERE m.alert_id = alerts.id AND {condition})"  # noqa: S608 -- names from above

    op.execute(
        f"UPDATE alerts SET successes = {of_matches('count(*)', SUCCEEDED)}, "  # noqa: S608 -- names from above
        f"failures = {of_matches('count(*)', FAILED)}, "
        f"succeeded_at = {of_matches('min(m.published)', SUCCEEDED)}, "
        f"failed_at = {of_matches('min(m.published)', FAILED)}"
    )


def downgrade() -> None:
    """Remove the columns; an alert that has risen keeps its severity."""
    op.execute("DROP VIEW alert_events")
    for name in EVENT:
        op.drop_column("matches", name)
    op.execute(
        "CREATE VIEW alert_events AS "
        "SELECT alert_id, org, event_uuid, published FROM matches WHERE alert_id IS NOT NULL"
    )
    for name in ("risen", "failed_at", "succeeded_at", "failures", "successes"):
        op.drop_column("alerts", name)
