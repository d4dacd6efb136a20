"""Indexes of the alerts of a person and of an address."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

INDEXES = {"ix_alerts_org_actor_id": "actor_id", "ix_alerts_org_client_ip": "client_ip"}


def upgrade() -> None:
    """Create the indexes."""
    for name, column in INDEXES.items():
        op.create_index(name, "alerts", ["org", column])


def downgrade() -> None:
    """Drop the indexes."""
    for name in INDEXES:
        op.drop_index(name, "alerts")
