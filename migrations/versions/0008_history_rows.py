"""History with a key and one array per row. A view provides the columns."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

FIELDS = (
    "event_type", "actor_id", "actor_alternate_id", "actor_display_name", "client_ip", "user_agent",
    "external_session_id", "root_session_id", "dt_hash", "outcome", "outcome_reason", "is_proxy", "risk",
    "behaviours",
)  # fmt: skip
"""In the order of the array."""


def moment() -> sa.types.TypeEngine[Any]:
    """Return the column type of a point in time."""
    return sa.String(24).with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def document() -> sa.types.TypeEngine[Any]:
    """Give the type of a JSON value."""
    return sa.JSON().with_variant(JSONB(), "postgresql")


def on_postgres() -> bool:
    """Tell the databases apart: each has its own functions for JSON."""
    return op.get_bind().dialect.name == "postgresql"


def array() -> str:
    """Give the SQL that makes a row's array of its columns."""
    if on_postgres():
        return f"jsonb_build_array({', '.join(FIELDS)})"
    # SQLite has no truth, only 1 and 0.
    truth = "json(CASE is_proxy WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)"
    return f"json_array({', '.join(truth if name == 'is_proxy' else name for name in FIELDS)})"


def columns() -> str:
    """Give the SQL that makes the columns of a row's array, of the types that they had."""
    field = "fields ->> {}" if on_postgres() else "json_extract(fields, '$[{}]')"
    made = (
        f"CAST({field.format(place)} AS {'BOOLEAN' if name == 'is_proxy' else 'VARCHAR'}) AS {name}"
        for place, name in enumerate(FIELDS)
    )
    return f"org, published, uuid, {', '.join(made)}"


def hold(table: str) -> None:
    """Let nobody write between reading a table and dropping it. SQLite's write has its lock already."""
    if on_postgres():
        op.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")


def upgrade() -> None:
    """Bring the schema up."""
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
    hold("history")
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
    op.execute(f"CREATE VIEW history AS SELECT {columns()} FROM history_rows")  # noqa: S608 -- likewise


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
    hold("history_rows")
    op.execute(f"INSERT INTO history SELECT {columns()} FROM history_rows")  # noqa: S608 -- names from above
    op.drop_table("history_rows")
    proxied = sa.text("is_proxy")
    op.create_index(
        "ix_history_proxied",
        "history",
        ["org", "actor_id", "published"],
        sqlite_where=proxied,
        postgresql_where=proxied,
    )
