"""Leases: which replica polls which org."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def moment() -> sa.types.TypeEngine[Any]:
    """Return the column type of a point in time."""
    return sa.String(24).with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Bring the schema up."""
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
