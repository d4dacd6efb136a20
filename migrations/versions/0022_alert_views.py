"""Add the views ``open_alerts`` and ``daily_alerts``."""

from alembic import op

from oktawatch.store.revision_types import on_postgres

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

OPEN = """
    CREATE VIEW open_alerts AS
    SELECT
      id, org, severity, status, rule_id, title, actor_alternate_id, actor_display_name, client_ip, country, city, as_number,
      as_org, anonymizer, operator, successes, failures, event_count, first_event_at, last_event_at, created_at, note
    FROM alerts
    WHERE status IN ('open', 'acknowledged')
"""
DAILY = """
    CREATE VIEW daily_alerts AS
    SELECT
      {day} AS day, org, rule_id, severity,
      count(*) AS alerts,
      count(DISTINCT coalesce(actor_id, actor_alternate_id)) AS people,
      count(DISTINCT client_ip) AS addresses,
      sum(event_count) AS events,
      sum(CASE WHEN successes > 0 THEN 1 ELSE 0 END) AS got_in
    FROM alerts
    WHERE status <> 'pending'
    GROUP BY {day}, org, rule_id, severity
"""


def upgrade() -> None:
    """Create the views."""
    day = "(first_event_at AT TIME ZONE 'UTC')::date" if on_postgres() else "substr(first_event_at, 1, 10)"
    op.execute(OPEN)
    op.execute(DAILY.format(day=day))


def downgrade() -> None:
    """Drop the views."""
    op.execute("DROP VIEW daily_alerts")
    op.execute("DROP VIEW open_alerts")
