"""Evidence of Apple's relay: three witnesses, none of them trusted to be well-formed."""

from typing import Any

import pytest

from oktawatch.detection.icloud_relay import OPERATOR, enriched_service, operators, relay_service
from oktawatch.detection.networks import NO_NETWORKS, Networks
from tests.unit.detection.events import event


def enriched(service: Any) -> dict[str, Any]:
    """Give an enrichment that names a service."""
    return {"p_enrichment": {"ipinfo_privacy": {"client.ipAddress": {"service": service}}}}


def tunnels(text: Any) -> dict[str, Any]:
    """Give a debugContext with tunnels."""
    return {"debugContext": {"debugData": {"tunnels": text}}}


def categories(listed: Any) -> dict[str, Any]:
    """Give a securityContext with service categories."""
    return {"securityContext": {"isProxy": True, "ipDetails": {"ipServiceCategories": listed}}}


@pytest.mark.parametrize(
    ("changes", "service"),
    [
        (enriched("Apple Private Relay"), "Apple Private Relay"),
        (enriched("apple private relay"), None),
        (enriched(["Apple Private Relay"]), None),
        (
            {
                "p_enrichment": {
                    "ipinfo_privacy": {"client": {"ipAddress": {"service": "Apple Private Relay"}}}
                }
            },
            None,
        ),
        (tunnels(f'[{{"operator":"{OPERATOR}"}}]'), OPERATOR),
        (tunnels([{"operator": OPERATOR}]), OPERATOR),
        (tunnels(f'[{{"operator":"{OPERATOR}"}}'), None),
        (tunnels(f'{{"operator":"{OPERATOR}"}}'), None),
        (tunnels("[" * 100_000), None),
        (tunnels('[{"operator": 1' + "0" * 5000 + "}]"), None),
        (tunnels(7), None),
        (categories([{"operator": OPERATOR, "isAnonymous": True, "type": "VPN"}]), OPERATOR),
        (categories({"operator": OPERATOR}), None),
        (categories([OPERATOR, None, {"operator": {"name": OPERATOR}}]), None),
    ],
)
def test_the_relay_is_recognised_by_each_witness(changes: dict[str, Any], service: str | None) -> None:
    """Its name is as the witness spells it; broken evidence is none."""
    assert relay_service(event(**changes), NO_NETWORKS) == service


def test_the_relay_is_recognised_by_the_operators_list() -> None:
    """An address in the configured ranges is evidence alone."""
    assert relay_service(event(), Networks.parse("203.0.113.0/24")) == "iCloud Private Relay"
    assert relay_service(event(client=None), Networks.parse("203.0.113.0/24")) is None


def test_operators_are_named_from_both_places() -> None:
    """Okta's classification stands in ipDetails and in debugData."""
    found = event(
        **categories([{"operator": "NORD_VPN"}, {"operator": None}]), **tunnels('[{"operator":"WARP_VPN"}]')
    )
    assert operators(found) == {"NORD_VPN", "WARP_VPN"}


def test_an_enrichments_service_is_bounded() -> None:
    """It lands in titles."""
    assert len(enriched_service(event(**enriched("x" * 100_000))) or "") <= 512
