"""Record the running daemons, so that `oktawatch status` shows whether one runs and can write."""

import sqlalchemy as sa
from alembic import op

from oktawatch.store.revision_types import moment

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "daemons",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("started_at", moment(), nullable=False),
        sa.Column("seen_at", moment(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_daemons"),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("daemons")
