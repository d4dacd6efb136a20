"""More columns in the view ``history``: places, networks, targets, factors, devices and API tokens."""

from alembic import op

from oktawatch.store.revision_types import create_history_view

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

BEFORE = (
    "event_type", "actor_id", "actor_alternate_id", "actor_display_name", "client_ip", "user_agent",
    "external_session_id", "root_session_id", "dt_hash", "outcome", "outcome_reason", "is_proxy", "risk",
    "behaviours",
)  # fmt: skip
"""The columns before this revision, in the order of the array."""
ADDED = (
    "country", "city", "as_number", "operators", "target_id", "target_type", "app", "factor", "device_id", "api_token_id",
    "client_device", "client_zone",
)  # fmt: skip
"""The added columns. They are NULL for older events, whose arrays end before them."""
TYPES = {"is_proxy": "BOOLEAN", "as_number": "BIGINT"}


def upgrade() -> None:
    """Upgrade the schema."""
    op.execute("DROP VIEW history")
    create_history_view((*BEFORE, *ADDED), TYPES)


def downgrade() -> None:
    """Downgrade the schema. The arrays keep the added values, which older programs ignore."""
    op.execute("DROP VIEW history")
    create_history_view(BEFORE, TYPES)
