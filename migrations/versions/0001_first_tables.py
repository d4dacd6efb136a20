"""The first tables: orgs, cursors, events, matches, alerts, the outbox and rejected events."""

import sqlalchemy as sa
from alembic import op

from oktawatch.store.revision_types import count, document, moment

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade the schema."""
    _create_orgs()
    _create_alerts()
    _create_readers()
    _create_matches()
    _create_outbox()
    op.execute(
        "CREATE VIEW alert_events AS "
        "SELECT alert_id, org, event_uuid, published FROM matches WHERE alert_id IS NOT NULL"
    )


def _create_orgs() -> None:
    op.create_table(
        "events",
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("published", moment(), nullable=False),
        sa.Column("uuid", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("org", "published", "uuid", name="pk_events"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "orgs",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("events_seen", count(), server_default=sa.text("0"), nullable=False),
        sa.Column("events_rejected", count(), server_default=sa.text("0"), nullable=False),
        sa.Column("events_late", count(), server_default=sa.text("0"), nullable=False),
        sa.Column("matches", count(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_poll_at", moment()),
        sa.Column("last_error", sa.String()),
        sa.Column("last_error_at", moment()),
        sa.PrimaryKeyConstraint("name", name="pk_orgs"),
    )


def _create_alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", count(), autoincrement=True, nullable=False),
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("rule_id", sa.String(), nullable=False),
        sa.Column("dedup_key", sa.String(), nullable=False),
        sa.Column("anchor", moment(), nullable=False),
        sa.Column("severity", sa.String(8), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("disposition", sa.String()),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("event_count", sa.Integer(), nullable=False),
        sa.Column("first_event_at", moment(), nullable=False),
        sa.Column("last_event_at", moment(), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("updated_at", moment(), nullable=False),
        sa.Column("closed_at", moment()),
        sa.Column("closed_by", sa.String()),
        sa.Column("told", sa.String(8)),
        sa.Column("actor_id", sa.String()),
        sa.Column("actor_alternate_id", sa.String()),
        sa.Column("actor_display_name", sa.String()),
        sa.Column("client_ip", sa.String()),
        sa.Column("country", sa.String()),
        sa.Column("city", sa.String()),
        sa.Column("as_number", sa.BigInteger()),
        sa.Column("as_org", sa.String()),
        sa.Column("isp", sa.String()),
        sa.Column("domain", sa.String()),
        sa.Column("outcome_result", sa.String()),
        sa.Column("outcome_reason", sa.String()),
        sa.Column("context", document(), nullable=False),
        sa.Column("note", sa.String()),
        sa.ForeignKeyConstraint(["org"], ["orgs.name"], name="fk_alerts_org_orgs"),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
        sa.UniqueConstraint(
            "org", "rule_id", "dedup_key", "anchor", name="uq_alerts_org_rule_id_dedup_key_anchor"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alerts_status_last_event_at", "alerts", ["status", "last_event_at"])


def _create_readers() -> None:
    op.create_table(
        "backfills",
        sa.Column("id", count(), autoincrement=True, nullable=False),
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("command", sa.String(), nullable=False),
        sa.Column("filter", sa.String(), nullable=False),
        sa.Column("since", moment(), nullable=False),
        sa.Column("until", moment(), nullable=False),
        sa.Column("notify", sa.Boolean(), nullable=False),
        sa.Column("cursor", sa.String(), nullable=False),
        sa.Column("started_at", moment(), nullable=False),
        sa.Column("updated_at", moment(), nullable=False),
        sa.Column("finished_at", moment()),
        sa.Column("pages", sa.Integer(), nullable=False),
        sa.Column("events", count(), nullable=False),
        sa.Column("new_events", count(), nullable=False),
        sa.Column("matches", count(), nullable=False),
        sa.Column("alerts", count(), nullable=False),
        sa.ForeignKeyConstraint(["org"], ["orgs.name"], name="fk_backfills_org_orgs"),
        sa.PrimaryKeyConstraint("id", name="pk_backfills"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_backfills_org_command_started_at", "backfills", ["org", "command", "started_at"])
    op.create_table(
        "cursors",
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("filter", sa.String(), nullable=False),
        sa.Column("cursor", sa.String(), nullable=False),
        sa.Column("began_at", moment(), nullable=False),
        sa.Column("last_published", moment()),
        sa.Column("updated_at", moment(), nullable=False),
        sa.Column("last_caught_up_at", moment()),
        sa.Column("swept_until", moment()),
        sa.ForeignKeyConstraint(["org"], ["orgs.name"], name="fk_cursors_org_orgs"),
        sa.PrimaryKeyConstraint("org", name="pk_cursors"),
    )


def _create_matches() -> None:
    op.create_table(
        "rejected_events",
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("received_at", moment(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["org"], ["orgs.name"], name="fk_rejected_events_org_orgs"),
        sa.PrimaryKeyConstraint("org", "fingerprint", name="pk_rejected_events"),
    )
    op.create_table(
        "matches",
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("rule_id", sa.String(), nullable=False),
        sa.Column("event_uuid", sa.String(), nullable=False),
        sa.Column("published", moment(), nullable=False),
        sa.Column("dedup_key", sa.String(), nullable=False),
        sa.Column("severity", sa.String(8), nullable=False),
        sa.Column("alert_id", count()),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], name="fk_matches_alert_id_alerts"),
        sa.ForeignKeyConstraint(["org"], ["orgs.name"], name="fk_matches_org_orgs"),
        sa.PrimaryKeyConstraint("org", "rule_id", "event_uuid", name="pk_matches"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_matches_alert_id", "matches", ["alert_id"])


def _create_outbox() -> None:
    op.create_table(
        "notifications",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("alert_id", count()),
        sa.Column("notifier", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("severity", sa.String(8)),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", moment()),
        sa.Column("last_error", sa.String()),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("sent_at", moment()),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("digest_id", sa.String(36)),
        sa.Column("content", document()),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], name="fk_notifications_alert_id_alerts"),
        sa.PrimaryKeyConstraint("id", name="pk_notifications"),
    )
    op.create_index("ix_notifications_alert_id", "notifications", ["alert_id"])
    op.create_index(
        "ix_notifications_state_notifier_next_attempt_at_alert_id",
        "notifications",
        ["state", "notifier", "next_attempt_at", "alert_id"],
    )
    for columns in (["digest_id"], ["notifier", "sent_at"]):
        there = sa.text(f"{columns[-1]} IS NOT NULL")
        op.create_index(
            f"ix_notifications_{'_'.join(columns)}",
            "notifications",
            columns,
            sqlite_where=there,
            postgresql_where=there,
        )
    op.create_table(
        "alarms",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("raised_at", moment(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_alarms"),
    )


def downgrade() -> None:
    """Downgrade the schema."""
    op.execute("DROP VIEW alert_events")
    op.drop_table("alarms")
    op.drop_table("notifications")
    op.drop_table("matches")
    op.drop_table("rejected_events")
    op.drop_table("cursors")
    op.drop_table("backfills")
    op.drop_table("alerts")
    op.drop_table("orgs")
    op.drop_table("events")
