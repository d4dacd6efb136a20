"""Record what each daemon waits for, so that `oktawatch status` shows it."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Running daemons replace their rows within half a minute."""
    op.add_column("daemons", sa.Column("waits", sa.String(), nullable=False, server_default="{}"))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("daemons", "waits")
