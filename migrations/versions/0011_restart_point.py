"""Where polling restarts without a cursor, the page size of polling, and the share of rejected elements."""

import sqlalchemy as sa
from alembic import op

from oktawatch.store.revision_types import moment

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade the schema."""
    op.add_column("cursors", sa.Column("page_size", sa.Integer()))
    op.add_column("cursors", sa.Column("restart_at", moment()))
    for name in ("recent_elements", "recent_rejected"):
        op.add_column("orgs", sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text("0")))


def downgrade() -> None:
    """Downgrade the schema."""
    for name in ("recent_rejected", "recent_elements"):
        op.drop_column("orgs", name)
    for name in ("restart_at", "page_size"):
        op.drop_column("cursors", name)
