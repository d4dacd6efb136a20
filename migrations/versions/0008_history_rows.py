"""History with a key and one array per row. A view provides the columns."""

import sqlalchemy as sa
from alembic import op

from oktawatch.store.revision_types import (
    create_history_view,
    document,
    history_columns,
    lock_tables,
    moment,
    on_postgres,
)

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

FIELDS = (
    "event_type", "actor_id", "actor_alternate_id", "actor_display_name", "client_ip", "user_agent",
    "external_session_id", "root_session_id", "dt_hash", "outcome", "outcome_reason", "is_proxy", "risk",
    "behaviours",
)  # fmt: skip
"""The columns, in the order of the array."""
TYPES = {"is_proxy": "BOOLEAN"}


def array() -> str:
    """Return the SQL of the array with a row's columns."""
    if on_postgres():
        return f"jsonb_build_array({', '.join(FIELDS)})"
    # SQLite stores booleans as 1 and 0.
    boolean = "json(CASE is_proxy WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)"
    return f"json_array({', '.join(boolean if name == 'is_proxy' else name for name in FIELDS)})"


def upgrade() -> None:
    """Upgrade the schema."""
    op.create_table(
        "history_rows",
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("published", moment(), nullable=False),
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("proxied_actor", sa.String()),
        sa.Column("fields", document(), nullable=False),
        sa.PrimaryKeyConstraint("org", "published", "uuid", name="pk_history_rows"),
        sqlite_with_rowid=False,
    )
    lock_tables("history")
    op.execute(
        "INSERT INTO history_rows (org, published, uuid, proxied_actor, fields) "  # noqa: S608 -- names from above
        f"SELECT org, published, uuid, CASE WHEN is_proxy THEN actor_id END, {array()} FROM history"
    )
    op.drop_table("history")
    proxied = sa.text("proxied_actor IS NOT NULL")
    op.create_index(
        "ix_history_rows_proxied",
        "history_rows",
        ["org", "proxied_actor", "published"],
        sqlite_where=proxied,
        postgresql_where=proxied,
    )
    create_history_view(FIELDS, TYPES, table="history_rows")


def downgrade() -> None:
    """Downgrade the schema."""
    op.execute("DROP VIEW history")
    op.create_table(
        "history",
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("published", moment(), nullable=False),
        sa.Column("uuid", sa.String(), nullable=False),
        *(
            sa.Column(
                name,
                sa.Boolean() if name == "is_proxy" else sa.String(),
                nullable=name != "event_type",
            )
            for name in FIELDS
        ),
        sa.PrimaryKeyConstraint("org", "published", "uuid", name="pk_history"),
        sqlite_with_rowid=False,
    )
    lock_tables("history_rows")
    columns = ", ".join(history_columns(FIELDS, TYPES))
    op.execute(f"INSERT INTO history SELECT {columns} FROM history_rows")  # noqa: S608 -- names from above
    op.drop_table("history_rows")
    proxied = sa.text("is_proxy")
    op.create_index(
        "ix_history_proxied",
        "history",
        ["org", "actor_id", "published"],
        sqlite_where=proxied,
        postgresql_where=proxied,
    )
