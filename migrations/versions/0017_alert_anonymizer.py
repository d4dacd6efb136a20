"""Add the kind and the operator of the anonymizer to alerts."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

ADDED = ("anonymizer", "operator")


def upgrade() -> None:
    """Add the columns. They are NULL for older alerts."""
    for name in ADDED:
        op.add_column("alerts", sa.Column(name, sa.String()))


def downgrade() -> None:
    """Drop the columns."""
    for name in ADDED:
        op.drop_column("alerts", name)
