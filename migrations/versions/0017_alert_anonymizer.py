"""Alerts have the kind of anonymizer behind the client's address, and its operator."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

ADDED = ("anonymizer", "operator")


def upgrade() -> None:
    """Bring the schema up. Older alerts have NULL."""
    for name in ADDED:
        op.add_column("alerts", sa.Column(name, sa.String()))


def downgrade() -> None:
    """Take it back."""
    for name in ADDED:
        op.drop_column("alerts", name)
