"""Number the changes of alerts, so that an export can continue where the last one ended."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

INDEX = "ix_alerts_org_change_id"


def upgrade() -> None:
    """Add the columns. Existing alerts get the number 0."""
    op.add_column("orgs", sa.Column("alert_change_id", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("alerts", sa.Column("change_id", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index(INDEX, "alerts", ["org", "change_id"])


def downgrade() -> None:
    """Drop the columns."""
    op.drop_index(INDEX, "alerts")
    op.drop_column("alerts", "change_id")
    op.drop_column("orgs", "alert_change_id")
