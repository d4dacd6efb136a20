"""One row per event with its history and signals. Views provide the columns."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from oktawatch.store.revision_types import create_history_view, document, lock_tables, moment, on_postgres

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

FIELDS = (
    "event_type", "actor_id", "actor_alternate_id", "actor_display_name", "client_ip", "user_agent",
    "external_session_id", "root_session_id", "dt_hash", "outcome", "outcome_reason", "is_proxy", "risk",
    "behaviours",
)  # fmt: skip
"""The columns, in the order of the array."""
TYPES = {"is_proxy": "BOOLEAN"}


def named_signals() -> str:
    """Return the query with a row for each signal."""
    each = "jsonb_array_elements_text" if on_postgres() else "json_each"
    name = "signal" if on_postgres() else "signal.value"
    return (
        f"SELECT org, published, uuid AS event_uuid, {name} AS rule_id "  # noqa: S608 -- names from above
        f"FROM events CROSS JOIN {each}(events.signals) AS signal"
    )


def key() -> tuple[sa.Column[Any], ...]:
    """Return the columns of an event's key."""
    return (
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("published", moment(), nullable=False),
        sa.Column("uuid", sa.String(), nullable=False),
    )


def proxied(table: str) -> None:
    """Create the index of the proxied events, which are few."""
    is_proxied = sa.text("proxied_actor IS NOT NULL")
    op.create_index(
        f"ix_{table}_proxied",
        table,
        ["org", "proxied_actor", "published"],
        sqlite_where=is_proxied,
        postgresql_where=is_proxied,
    )


def upgrade() -> None:
    """Upgrade the schema. Events are copied, because adding values to all rows in place would cost more."""
    lock_tables("events", "history_rows", "signals")
    op.execute("DROP VIEW history")
    op.rename_table("events", "seen")
    if on_postgres():
        op.execute("ALTER INDEX pk_events RENAME TO pk_seen")
    op.create_table(
        "events",
        *key(),
        sa.Column("proxied_actor", sa.String()),
        sa.Column("fields", document()),
        sa.Column("signals", document()),
        sa.PrimaryKeyConstraint("org", "published", "uuid", name="pk_events"),
        sqlite_with_rowid=False,
    )
    gathered = "jsonb_agg(rule_id)" if on_postgres() else "nullif(json_group_array(rule_id), '[]')"
    op.execute(
        f"""
        INSERT INTO events (org, published, uuid, proxied_actor, fields, signals)
        SELECT every.org, every.published, every.uuid, proxied_actor, fields, (
            SELECT {gathered} FROM signals
            WHERE signals.org = every.org AND signals.published = every.published AND event_uuid = every.uuid
        )
        FROM (
            SELECT org, published, uuid FROM seen
            UNION SELECT org, published, uuid FROM history_rows
            UNION SELECT org, published, event_uuid FROM signals
        ) AS every
        LEFT JOIN history_rows
          ON history_rows.org = every.org AND history_rows.published = every.published AND history_rows.uuid = every.uuid
        """  # noqa: S608 -- names from above
    )
    for table in ("seen", "history_rows", "signals"):
        op.drop_table(table)
    proxied("events")
    create_history_view(FIELDS, TYPES)
    op.execute(f"CREATE VIEW signals AS {named_signals()}")


def downgrade() -> None:
    """Downgrade the schema."""
    lock_tables("events")
    op.execute("DROP VIEW history")
    op.execute("DROP VIEW signals")
    op.create_table(
        "history_rows",
        *key(),
        sa.Column("proxied_actor", sa.String()),
        sa.Column("fields", document(), nullable=False),
        sa.PrimaryKeyConstraint("org", "published", "uuid", name="pk_history_rows"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO history_rows SELECT org, published, uuid, proxied_actor, fields FROM events WHERE fields IS NOT NULL"
    )
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
    op.execute(f"INSERT INTO signals {named_signals()}")
    op.rename_table("events", "whole")
    if on_postgres():
        op.execute("ALTER INDEX pk_events RENAME TO pk_whole")
    op.create_table(
        "events",
        *key(),
        sa.PrimaryKeyConstraint("org", "published", "uuid", name="pk_events"),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO events SELECT org, published, uuid FROM whole")
    op.drop_table("whole")
    proxied("history_rows")
    create_history_view(FIELDS, TYPES, table="history_rows")
