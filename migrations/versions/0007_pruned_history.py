"""The time before which history was pruned, by event type."""

import sqlalchemy as sa
from alembic import op

from oktawatch.store.revision_types import moment

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade the schema."""
    op.create_table(
        "pruned_history",
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("event_type", sa.String(), nullable=False),
        sa.Column("before", moment(), nullable=False),
        sa.PrimaryKeyConstraint("org", "event_type", name="pk_pruned_history"),
    )


def downgrade() -> None:
    """Downgrade the schema."""
    op.drop_table("pruned_history")
