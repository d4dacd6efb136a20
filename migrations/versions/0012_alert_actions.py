"""People's decisions about alerts: one immutable row per decision."""

import sqlalchemy as sa
from alembic import op

from oktawatch.store.revision_types import count, moment

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, and record the closing of each closed alert as its first action."""
    op.create_table(
        "alert_actions",
        sa.Column("id", count(), autoincrement=True, nullable=False),
        sa.Column("alert_id", count(), nullable=False),
        sa.Column("at", moment(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("disposition", sa.String()),
        sa.Column("note", sa.String()),
        sa.PrimaryKeyConstraint("id", name="pk_alert_actions"),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], name="fk_alert_actions_alert_id_alerts"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alert_actions_alert_id", "alert_actions", ["alert_id"])
    op.execute(
        'INSERT INTO alert_actions (alert_id, at, "by", action, disposition, note) '
        "SELECT id, updated_at, closed_by, 'closed', disposition, note FROM alerts "
        "WHERE status = 'closed' AND closed_by IS NOT NULL ORDER BY updated_at, id"
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("alert_actions")
