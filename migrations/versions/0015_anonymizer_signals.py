"""More columns in the view ``history``: by which signals an address is an anonymizer's."""

from alembic import op

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
"""In the order of the array."""
ADDED = ("anonymous_tunnel", "anonymous_service", "associated_proxy")
"""Likewise. Stored arrays lack them, so nothing is rewritten: these columns are NULL for older events."""
TYPES = {"as_number": "BIGINT"} | dict.fromkeys(("is_proxy", *ADDED), "BOOLEAN")


def view_of(names: tuple[str, ...]) -> str:
    """Return the statement that creates the view with these columns."""
    field = "fields ->> {}" if op.get_bind().dialect.name == "postgresql" else "json_extract(fields, '$[{}]')"
    columns = (
        f"CAST({field.format(place)} AS {TYPES.get(name, 'VARCHAR')}) AS {name}"
        for place, name in enumerate(names)
    )
    return (
        f"CREATE VIEW history AS SELECT org, published, uuid, {', '.join(columns)} "  # noqa: S608 -- names from above
        "FROM events WHERE fields IS NOT NULL"
    )


def upgrade() -> None:
    """Bring the schema up."""
    op.execute("DROP VIEW history")
    op.execute(view_of((*BEFORE, *ADDED)))


def downgrade() -> None:
    """Downgrade the schema. The arrays keep the added values, which older programs ignore."""
    op.execute("DROP VIEW history")
    op.execute(view_of(BEFORE))
