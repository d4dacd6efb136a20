"""Up to when history was pruned."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def moment() -> sa.types.TypeEngine[Any]:
    """Return the column type of a point in time."""
    return sa.String(24).with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Bring the schema up."""
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
