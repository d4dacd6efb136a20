"""Rules that were left out of pages."""

import sqlalchemy as sa
from alembic import op

from oktawatch.store.revision_types import moment

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "rules_left_out",
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("rule_id", sa.String(), nullable=False),
        sa.Column("event_uuid", sa.String(), nullable=False),
        sa.Column("page_uuid", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", moment(), nullable=False),
        sa.Column("froze_at", moment()),
        sa.Column("told_at", moment()),
        sa.PrimaryKeyConstraint("org", "rule_id", "event_uuid", name="pk_rules_left_out"),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("rules_left_out")
