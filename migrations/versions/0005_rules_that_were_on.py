"""The rules that an org was last polled with."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade the schema."""
    op.add_column("orgs", sa.Column("rules", sa.String()))


def downgrade() -> None:
    """Downgrade the schema."""
    op.drop_column("orgs", "rules")
