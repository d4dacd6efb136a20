"""Add the anonymizer marks of an address to the view ``history``."""

from alembic import op

from oktawatch.store.revision_types import create_history_view

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

BEFORE = (
    "event_type", "actor_id", "actor_alternate_id", "actor_display_name", "client_ip", "user_agent",
    "external_session_id", "root_session_id", "dt_hash", "outcome", "outcome_reason", "is_proxy", "risk",
    "behaviours", "country", "city", "as_number", "operators", "target_id", "target_type", "app", "factor", "device_id",
    "api_token_id", "client_device", "client_zone",
)  # fmt: skip
"""The columns before this revision, in the order of the array."""
ADDED = ("anonymous_tunnel", "anonymous_service", "associated_proxy")
"""The added columns, in the order of the array. They are NULL for older events, whose arrays end before them."""
TYPES = {"as_number": "BIGINT"} | dict.fromkeys(("is_proxy", *ADDED), "BOOLEAN")


def upgrade() -> None:
    """Recreate the view with the added columns."""
    op.execute("DROP VIEW history")
    create_history_view((*BEFORE, *ADDED), TYPES)


def downgrade() -> None:
    """Recreate the view without the added columns. The arrays keep the values, which older versions ignore."""
    op.execute("DROP VIEW history")
    create_history_view(BEFORE, TYPES)
