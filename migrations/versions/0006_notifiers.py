"""The health of notifiers, the start of alarms, and claims and retries of notifications."""

import sqlalchemy as sa
from alembic import op

from oktawatch.store.revision_types import moment

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade the schema."""
    op.create_table(
        "notifiers",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("failing_since", moment()),
        sa.Column("last_error", sa.String()),
        sa.Column("told_at", moment()),
        sa.PrimaryKeyConstraint("name", name="pk_notifiers"),
    )
    op.add_column("alarms", sa.Column("since", moment()))
    op.add_column("notifications", sa.Column("claimed_until", moment()))
    op.add_column("notifications", sa.Column("retried_at", moment()))


def downgrade() -> None:
    """Downgrade the schema."""
    op.drop_column("notifications", "retried_at")
    op.drop_column("notifications", "claimed_until")
    op.drop_column("alarms", "since")
    op.drop_table("notifiers")
