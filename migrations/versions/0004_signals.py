"""A table of signals, in order of time."""

import sqlalchemy as sa
from alembic import op

from oktawatch.store.revision_types import moment

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade the schema."""
    op.create_table(
        "signals",
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("published", moment(), nullable=False),
        sa.Column("event_uuid", sa.String(), nullable=False),
        sa.Column("rule_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["org"], ["orgs.name"], name="fk_signals_org_orgs"),
        sa.PrimaryKeyConstraint("org", "published", "event_uuid", "rule_id", name="pk_signals"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO signals SELECT org, published, event_uuid, rule_id FROM matches WHERE alert_id IS NULL"
    )
    op.execute("DELETE FROM matches WHERE alert_id IS NULL")


def downgrade() -> None:
    """Downgrade the schema."""
    op.drop_table("signals")
