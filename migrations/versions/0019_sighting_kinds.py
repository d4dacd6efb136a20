"""Replace the anonymizers of sightings by their kinds.

Before this revision, every anonymizer was a `proxy`, and `operator` listed all operators that Okta named. Now, a sighting
has the kind and the operator of the worst anonymizer.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# A copy of the built-in table of operators, because a migration must not change with the program.
KINDS = {
    "residential_proxy": """
        911 922 ABC ASOCKS BRIGHTDATA GEONODE HOLA IPIDEA IPROYAL LUMINATI MASSIVE NETNUT OCULUS OXYLABS PACKETSTREAM
        PROXYRACK RAYOBYTE SMARTPROXY SOAX
    """,
    "tor": "ANONYMIZERTOR TOR",
    "commercial_vpn": """
        AVAST AVG CYBERGHOST EXPRESS EXPRESSVPN HIDEMYASS HOTSPOT HOTSPOTSHIELD IPVANISH MULLVAD NORD NORDVPN OPERA
        PRIVATEINTERNETACCESS PROTON PROTONVPN PSIPHON PURE PUREVPN SAMSUNG SURFSHARK SYMANTEC TRENDMICRO TUNNELBEAR
        ULTRASURF VYPR WARP WINDSCRIBE
    """,
    "unknown": "",
    "corporate_vpn": """
        CATO CISCOANYCONNECT CISCOUMBRELLA FORCEPOINT FORTINET GLOBALPROTECT IBOSS MENLO NETSKOPE PERIMETER81 PRISMA
        ZSCALER
    """,
    "relay": "APPLEICLOUDRELAY GOOGLE",
}
"""Kinds from worst to best, with the stems of their operators."""

sightings = sa.table("sightings", sa.column("anonymizer", sa.String), sa.column("operator", sa.String))


def kind_of(operator: str) -> str:
    """Return the kind of an operator."""
    stem = operator.upper()
    for suffix in ("_VPN", "_PROXY"):
        stem = stem.removesuffix(suffix)
    stem = stem.replace("_", "")
    return next((kind for kind, names in KINDS.items() if stem in names.split()), "unknown")


def upgrade() -> None:
    """Classify the sightings by the operators that Okta named."""
    connection = op.get_bind()
    # Okta marked the address without naming an operator.
    op.execute(
        """
        UPDATE sightings SET anonymizer = 'unknown' WHERE anonymizer = 'proxy' AND operator IS NULL AND EXISTS (
          SELECT 1 FROM history
          WHERE history.org = sightings.org AND published = last_at AND uuid = last_uuid
            AND (anonymous_tunnel OR anonymous_service)
        )
        """
    )
    named = sa.select(sightings.c.operator).where(sightings.c.operator.is_not(None)).distinct()
    worst_first = list(KINDS)
    for operators in connection.execute(named).scalars().all():
        operator = min(operators.split(", "), key=lambda name: worst_first.index(kind_of(name)))
        connection.execute(
            sa.update(sightings)
            .where(sightings.c.operator == operators)
            .values(anonymizer=kind_of(operator), operator=operator)
        )


def downgrade() -> None:
    """Set every anonymizer to `proxy` again. The operators that the upgrade removed are lost."""
    op.execute("UPDATE sightings SET anonymizer = 'proxy' WHERE anonymizer IS NOT NULL")
