"""Add the facts about people on which severities depend: failed sign-ins by actor, familiar days, and an index of verdicts."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def on_postgres() -> bool:
    """Return whether the database is Postgres."""
    return op.get_bind().dialect.name == "postgresql"


def ascii_text() -> sa.types.TypeEngine[Any]:
    """Return the type of text that is sorted by bytes."""
    return sa.String().with_variant(sa.String(collation="C"), "postgresql")


def failures() -> str:
    """Return the statement that marks the failed sign-ins. Indexes into the array: 0 type, 1 actor, 9 outcome."""
    field = "(fields ->> {})" if on_postgres() else "json_extract(fields, '$[{}]')"
    return f"""
        UPDATE events SET failed_actor = {field.format(1)}
        WHERE fields IS NOT NULL AND {field.format(0)} = 'user.session.start'
          AND {field.format(9)} IN ('FAILURE', 'DENY')
    """  # noqa: S608 -- text from above


def days() -> str:
    """Return the query for the familiar days of all sign-ins in history.

    Sign-ins with several operators are left out, because which operator is the worst depends on the program's version.
    """
    if on_postgres():
        operator, count = "operators::jsonb ->> 0", "jsonb_array_length(operators::jsonb)"
        day = "to_char(published AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
    else:
        operator, count = "json_extract(operators, '$[0]')", "json_array_length(operators)"
        day = "substr(published, 1, 10)"
    return f"""
        SELECT DISTINCT org, actor_id, coalesce({operator}, 'AS' || as_number), {day} FROM history
        WHERE event_type = 'user.session.start' AND actor_id IS NOT NULL AND outcome IN ('SUCCESS', 'ALLOW')
          AND (is_proxy OR anonymous_tunnel OR anonymous_service OR associated_proxy)
          AND CASE WHEN operators IS NULL THEN as_number IS NOT NULL ELSE {count} = 1 END
          AND (behaviours IS NULL OR behaviours NOT LIKE '%"New Device"%')
    """  # noqa: S608 -- text from above


def upgrade() -> None:
    """Add the column, the table and the indexes, and fill them from history."""
    if on_postgres():
        op.execute("LOCK TABLE events IN EXCLUSIVE MODE")  # waits for page transactions in progress
    op.add_column("events", sa.Column("failed_actor", sa.String()))
    op.execute(failures())
    is_failed, has_verdict = sa.text("failed_actor IS NOT NULL"), sa.text("disposition IS NOT NULL")
    op.create_index(
        "ix_events_failed", "events", ["org", "failed_actor", "published"],
        sqlite_where=is_failed, postgresql_where=is_failed,
    )  # fmt: skip
    op.create_index(
        "ix_alerts_verdicts", "alerts", ["org", "actor_id", "closed_at"],
        sqlite_where=has_verdict, postgresql_where=has_verdict,
    )  # fmt: skip
    op.create_table(
        "familiar_days",
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("actor_id", sa.String(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("day", ascii_text(), nullable=False),
        sa.PrimaryKeyConstraint("org", "actor_id", "service", "day", name="pk_familiar_days"),
        sqlite_with_rowid=False,
    )
    op.execute(f"INSERT INTO familiar_days (org, actor_id, service, day) {days()}")


def downgrade() -> None:
    """Drop the column, the table and the indexes."""
    op.drop_table("familiar_days")
    op.drop_index("ix_alerts_verdicts", "alerts")
    op.drop_index("ix_events_failed", "events")
    op.drop_column("events", "failed_actor")
