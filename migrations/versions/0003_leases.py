"""Leases: which replica polls which org."""

import sqlalchemy as sa
from alembic import op

from oktawatch.store.revision_types import moment

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade the schema."""
    op.create_table(
        "replicas",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("run", sa.String(36), nullable=False),
        sa.Column("expires_at", moment(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_replicas"),
    )
    op.create_table(
        "leases",
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("holder", sa.String()),
        sa.Column("expires_at", moment(), nullable=False),
        sa.ForeignKeyConstraint(["org"], ["orgs.name"], name="fk_leases_org_orgs"),
        sa.PrimaryKeyConstraint("org", name="pk_leases"),
    )


def downgrade() -> None:
    """Downgrade the schema."""
    op.drop_table("leases")
    op.drop_table("replicas")
