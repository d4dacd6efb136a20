"""Add a summary of sign-ins by actor and address, and fill it from history."""

import sqlalchemy as sa
from alembic import op

from oktawatch.store.revision_types import ascii_text, count, moment, on_postgres

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


IS_ANONYMIZED = (
    "is_proxy OR anonymous_tunnel OR anonymous_service OR associated_proxy OR operators IS NOT NULL"
)
"""Whether the address has an anonymizer mark. Older rows lack the marks but have the operators."""


def summary() -> str:
    """Return the query for the sightings of all sign-ins in history."""
    operators = (
        "(SELECT string_agg(name, ', ') FROM jsonb_array_elements_text(operators::jsonb) AS names(name))"
        if on_postgres()
        else "(SELECT group_concat(value, ', ') FROM json_each(operators))"
    )
    return f"""
        SELECT
          org, actor, address,
          CASE WHEN actor <> '' THEN actor_alternate_id END,
          first_at, published, successes, failures, as_number, country,
          CASE WHEN anonymized_at IS NOT NULL THEN 'proxy' END,
          {operators},
          anonymizer_at, uuid
        FROM (
          SELECT
            sign_ins.*,
            row_number() OVER (
              PARTITION BY org, actor, address ORDER BY published DESC, {"uuid COLLATE " + '"C"' if on_postgres() else "uuid"} DESC
            ) AS number,
            min(published) OVER of_pair AS first_at,
            min(anonymized_at) OVER of_pair AS anonymizer_at,
            sum(CASE WHEN outcome IN ('SUCCESS', 'ALLOW') THEN 1 ELSE 0 END) OVER of_pair AS successes,
            sum(CASE WHEN outcome IN ('FAILURE', 'DENY') THEN 1 ELSE 0 END) OVER of_pair AS failures
          FROM (
            SELECT
              history.*, coalesce(actor_id, '') AS actor, coalesce(client_ip, '') AS address,
              CASE WHEN {IS_ANONYMIZED} THEN published END AS anonymized_at
            FROM history WHERE event_type = 'user.session.start'
          ) AS sign_ins
          WINDOW of_pair AS (PARTITION BY org, actor, address)
        ) AS numbered
        WHERE number = 1
    """  # noqa: S608 -- text from above


def upgrade() -> None:
    """Create the tables, and count the sign-ins in history."""
    if on_postgres():
        # Waits for page transactions in progress, so that their sign-ins are counted.
        op.execute("LOCK TABLE events IN EXCLUSIVE MODE")
    op.create_table(
        "sightings",
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("actor_id", sa.String(), nullable=False),
        sa.Column("client_ip", ascii_text(), nullable=False),
        sa.Column("actor_alternate_id", sa.String()),
        sa.Column("first_at", moment(), nullable=False),
        sa.Column("last_at", moment(), nullable=False),
        sa.Column("successes", count(), nullable=False),
        sa.Column("failures", count(), nullable=False),
        sa.Column("as_number", sa.BigInteger()),
        sa.Column("country", sa.String()),
        sa.Column("anonymizer", sa.String()),
        sa.Column("operator", sa.String()),
        sa.Column("anonymizer_at", moment()),
        sa.Column("last_uuid", ascii_text(), nullable=False),
        sa.PrimaryKeyConstraint("org", "actor_id", "client_ip", name="pk_sightings"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "counted_sign_ins",
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("published", moment(), nullable=False),
        sa.Column("uuid", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("org", "published", "uuid", name="pk_counted_sign_ins"),
        sqlite_with_rowid=False,
    )
    op.execute(f"INSERT INTO sightings {summary()}")
    op.create_index("ix_sightings_org_client_ip", "sightings", ["org", "client_ip"])


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("counted_sign_ins")
    op.drop_table("sightings")
