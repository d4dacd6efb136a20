"""The history that rules query."""

import sqlalchemy as sa
from alembic import op

from oktawatch.store.revision_types import moment

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade the schema."""
    op.create_table(
        "history",
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("published", moment(), nullable=False),
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("event_type", sa.String(), nullable=False),
        sa.Column("actor_id", sa.String()),
        sa.Column("actor_alternate_id", sa.String()),
        sa.Column("actor_display_name", sa.String()),
        sa.Column("client_ip", sa.String()),
        sa.Column("user_agent", sa.String()),
        sa.Column("external_session_id", sa.String()),
        sa.Column("root_session_id", sa.String()),
        sa.Column("dt_hash", sa.String()),
        sa.Column("outcome", sa.String()),
        sa.Column("outcome_reason", sa.String()),
        sa.Column("is_proxy", sa.Boolean()),
        sa.Column("risk", sa.String()),
        sa.Column("behaviours", sa.String()),
        sa.PrimaryKeyConstraint("org", "published", "uuid", name="pk_history"),
        sqlite_with_rowid=False,
    )
    proxied = sa.text("is_proxy")
    op.create_index(
        "ix_history_proxied",
        "history",
        ["org", "actor_id", "published"],
        sqlite_where=proxied,
        postgresql_where=proxied,
    )
    op.add_column("orgs", sa.Column("history_version", sa.String(32)))


def downgrade() -> None:
    """Downgrade the schema."""
    op.drop_column("orgs", "history_version")
    op.drop_table("history")
