"""Matches that an allow entry kept from becoming part of an alert."""

import sqlalchemy as sa
from alembic import op

from oktawatch.store.revision_types import moment

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table and its index."""
    op.create_table(
        "allowed_matches",
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("rule_id", sa.String(), nullable=False),
        sa.Column("event_uuid", sa.String(), nullable=False),
        sa.Column("published", moment(), nullable=False),
        sa.Column("entry", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("actor_alternate_id", sa.String()),
        sa.Column("client_ip", sa.String()),
        sa.PrimaryKeyConstraint("org", "rule_id", "event_uuid", name="pk_allowed_matches"),
        sa.ForeignKeyConstraint(["org"], ["orgs.name"], name="fk_allowed_matches_org_orgs"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_allowed_matches_org_published", "allowed_matches", ["org", "published"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("allowed_matches")
