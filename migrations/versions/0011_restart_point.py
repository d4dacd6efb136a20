"""Where polling restarts without a cursor, its page size, and the share of rejected elements."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def moment() -> sa.types.TypeEngine[Any]:
    """Return the type of a point in time."""
    return sa.String(24).with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


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
