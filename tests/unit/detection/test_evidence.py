"""The kind of anonymizer of an address, by each source and by their combination."""

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.detection.evidence import Evidence, Finding, NetworksSource
from oktawatch.detection.networks import Networks
from oktawatch.detection.operators import OPERATOR_KINDS, OperatorKinds
from oktawatch.detection.privacy_records import ipinfo_kinds, maxmind_kinds
from oktawatch.model.anonymizer_kind import AnonymizerKind as Kind
from tests.support.shared import shared_data
from tests.unit.detection.events import event


def tunnels(value: Any) -> dict[str, Any]:
    """Return a debugContext with tunnels."""
    return {"debugContext": {"debugData": {"tunnels": value}}}


def categories(value: Any) -> dict[str, Any]:
    """Return a securityContext with service categories."""
    return {"securityContext": {"isProxy": True, "ipDetails": {"ipServiceCategories": value}}}


def enriched(record: Any) -> dict[str, Any]:
    """Return an enrichment."""
    return {"p_enrichment": {"ipinfo_privacy": {"client.ipAddress": record}}}


def source(kind: Kind, text: str = "203.0.113.0/24") -> NetworksSource:
    """Return a configured list that has the event's address."""
    return NetworksSource(f"list of {kind}", Networks.parse(text), kind, "Example")


APPLE = "APPLE_ICLOUD_RELAY_PROXY"
UNMARKED: dict[str, Any] = {"securityContext": {"isProxy": None}}


@pytest.mark.parametrize(
    ("changes", "kind", "operator"),
    [
        ({}, Kind.PROXY, None),
        (UNMARKED, None, None),
        (tunnels([{"operator": APPLE, "anonymous": True}]), Kind.RELAY, APPLE),
        (tunnels([{"operator": APPLE}]), Kind.RELAY, APPLE),
        (tunnels(f'[{{"operator":"{APPLE}","anonymous":true}}'), Kind.PROXY, None),
        (tunnels("[" * 100_000), Kind.PROXY, None),
        (tunnels('[{"operator": 1' + "0" * 5000 + "}]"), Kind.PROXY, None),
        (tunnels([{"operator": "GOOGLE_VPN", "anonymous": True}]), Kind.RELAY, "GOOGLE_VPN"),
        (
            tunnels([{"operator": "NEW_VPN", "anonymous": True, "type": "VPN"}]),
            Kind.COMMERCIAL_VPN,
            "NEW_VPN",
        ),
        (tunnels([{"operator": None, "anonymous": True, "type": "Tor"}]), Kind.TOR, None),
        (tunnels([{"anonymous": True}]), Kind.UNKNOWN, None),
        (tunnels([{"operator": "ACME", "anonymous": False}]), Kind.CORPORATE_VPN, "ACME"),
        (tunnels([{"operator": "WARP_VPN", "anonymous": False}]), Kind.COMMERCIAL_VPN, "WARP_VPN"),
        (categories([{"operator": "nord_vpn", "isAnonymous": True}]), Kind.COMMERCIAL_VPN, "nord_vpn"),
        (
            categories([{"isAnonymous": True, "operator": "X", "type": "Residential Proxy"}]),
            Kind.RESIDENTIAL_PROXY,
            "X",
        ),
        (categories([APPLE, None, {"operator": {"name": APPLE}}]), Kind.UNKNOWN, None),
        ({"debugContext": {"debugData": {"proxyType": "tor"}}}, Kind.TOR, None),
        (enriched({"service": "Apple Private Relay"}), Kind.RELAY, "Apple Private Relay"),
        (
            enriched({"vpn": True, "hosting": True, "service": "Example VPN"}),
            Kind.COMMERCIAL_VPN,
            "Example VPN",
        ),
        (enriched({"hosting": "true", "vpn": "", "service": ""}), Kind.HOSTING, None),
        (enriched({"service": "Example"}), Kind.UNKNOWN, "Example"),
        (enriched(["Apple Private Relay"]), Kind.PROXY, None),
    ],
)
def test_the_kind_by_each_source_alone(
    changes: dict[str, Any], kind: Kind | None, operator: str | None
) -> None:
    """Each source of evidence gives its kind, and broken evidence gives none."""
    found = Evidence().classify(event(**changes))
    assert (found.kind, found.operator) == (kind, operator)


def test_the_examples_of_oktas_event_schemas() -> None:
    """Every example value of the keys of debugData that name services is classified."""
    examples = json.loads(shared_data("okta_debug_data_examples.json").read_text())
    kinds = set()
    for schema in examples.values():
        properties = schema["properties"]
        for key, name in (("tunnels", "tunnels"), ("associated_proxies", "associatedProxies")):
            for value in properties.get(key, {}).get("examples", ()):
                found = Evidence().classify(event(**UNMARKED, debugContext={"debugData": {name: value}}))
                kinds.add((found.kind, found.operator))
    assert kinds == {
        (Kind.COMMERCIAL_VPN, "HOTSPOT_VPN"),
        (Kind.RESIDENTIAL_PROXY, "OCULUS_PROXY"),
    }


@given(st.permutations([k for k in Kind if k is not Kind.HOSTING]), st.integers(1, 7))
def test_the_worst_kind_of_all_sources_applies(kinds: list[Kind], count: int) -> None:
    """The worst kind of all sources applies, in any order, over isProxy and hosting."""
    evidence = Evidence()
    evidence.sources = (source(Kind.HOSTING), *map(source, kinds[:count]))
    worst = min(kinds[:count], key=list(Kind).index)
    assert evidence.classify(event()).kind is worst


def test_hosting_counts_only_where_no_service_is_named() -> None:
    """The kind is hosting only if no source names a service, because relays and corporate gateways are in data centres."""
    evidence = Evidence()
    evidence.sources = (source(Kind.HOSTING),)
    assert evidence.classify(event()).kind is Kind.HOSTING
    assert evidence.classify(event(**tunnels([{"operator": APPLE, "anonymous": True}]))).kind is Kind.RELAY
    assert evidence.classify(event(**tunnels([{"anonymous": False}]))).kind is Kind.CORPORATE_VPN


def test_two_operators_on_one_address() -> None:
    """The operator is that of the worst service, and the evidence has both."""
    for named in permutations(["OXYLABS_PROXY", APPLE]):
        found = Evidence().classify(event(**tunnels([{"operator": o, "anonymous": True} for o in named])))
        assert (found.kind, found.operator) == (Kind.RESIDENTIAL_PROXY, "OXYLABS_PROXY")
        assert {finding.operator for finding in found.findings} == {*named, None}


@pytest.mark.parametrize("key", ["tunnels", "associatedProxies"])
def test_many_named_services_hide_no_finding_of_your_own(key: str) -> None:
    """However many services an event names, the configured sources are listed and count."""
    evidence = Evidence()
    evidence.sources = (source(Kind.TOR),)
    names = [f"VPN_{number}" for number in range(200)]
    named = [{"operator": name, "anonymous": True} for name in names] if key == "tunnels" else names
    found = evidence.classify(event(debugContext={"debugData": {key: named}}))
    assert (found.kind, found.operator) == (Kind.TOR, "Example")
    assert [finding.source for finding in found.findings[-2:]] == ["list of tor", "isProxy"]
    assert len(found.findings) == 51


@pytest.mark.parametrize("place", [0, 49, 50, 199])
def test_many_named_services_hide_no_worse_one(place: int) -> None:
    """The kind is that of the worst of any number of named services, and that service is listed."""
    named: list[dict[str, Any]] = [
        {"operator": f"WORK_{number}", "anonymous": False} for number in range(199)
    ]
    named.insert(place, {"operator": APPLE, "anonymous": True})
    found = Evidence().classify(event(**tunnels(named)))
    assert (found.kind, found.operator) == (Kind.RELAY, APPLE)
    assert Finding("tunnels", Kind.RELAY, APPLE) in found.findings


def test_a_service_that_is_not_anonymous_does_not_hide_a_relay() -> None:
    """Only another anonymous service changes the kind of a relay."""
    found = Evidence().classify(
        event(**tunnels([{"operator": APPLE, "anonymous": True}, {"operator": "ACME", "anonymous": False}]))
    )
    assert found.kind is Kind.RELAY
    assert Finding("tunnels", Kind.CORPORATE_VPN, "ACME", anonymous=False) in found.findings


def test_configured_operators_override_the_built_in_table() -> None:
    """Configured operators are case-insensitive and take precedence, and unknown ones get the kind of their type."""
    kind_of = OperatorKinds({"Nord_VPN": Kind.CORPORATE_VPN, "ACME_GATEWAY": Kind.CORPORATE_VPN}).kind_of
    assert kind_of("NORD_VPN", "VPN") is Kind.CORPORATE_VPN
    assert kind_of("ACME_GATEWAY", "Proxy") is Kind.CORPORATE_VPN
    assert kind_of("MULLVAD_VPN", "Proxy") is Kind.COMMERCIAL_VPN
    assert kind_of("NEWCOMER", "proxy") is Kind.PROXY
    assert kind_of("NEWCOMER", "Quantum") is None
    assert kind_of(None, {"type": "VPN"}) is None


def test_the_built_in_table_has_each_operator_once() -> None:
    """A name under two kinds would get the last kind."""
    from oktawatch.detection import operators

    names = [name for text in operators._NAMES.values() for name in text.split()]
    assert len(OPERATOR_KINDS) == len(set(names)) == len(names)
    assert len(OPERATOR_KINDS) >= 45


@pytest.mark.parametrize(
    ("record", "kinds"),
    [
        (
            {"is_anonymous": True, "is_anonymous_vpn": True, "is_hosting_provider": True},
            {Kind.COMMERCIAL_VPN, Kind.HOSTING},
        ),
        ({"is_anonymous": True, "is_tor_exit_node": True}, {Kind.TOR}),
        ({"is_anonymous": True, "is_residential_proxy": True}, {Kind.RESIDENTIAL_PROXY}),
        ({"is_anonymous": True, "is_public_proxy": True}, {Kind.PROXY}),
        ({"is_anonymous": True, "is_hosting_provider": True}, {Kind.HOSTING}),
        ({"is_anonymous": True}, {Kind.UNKNOWN}),
        ({"is_anonymous": False}, set()),
        (["is_anonymous"], set()),
        (None, set()),
    ],
)
def test_a_maxmind_record(record: Any, kinds: set[Kind]) -> None:
    """Each flag gives a kind, and ``is_anonymous`` alone an unknown one."""
    assert {kind for kind, _ in maxmind_kinds(record)} == kinds


def test_texts_from_events_are_shortened() -> None:
    """The names of operators and services are shortened, and their number is limited."""
    many = [{"operator": f"{n}" + "x" * 10_000, "anonymous": True} for n in range(1_000)]
    found = Evidence().classify(event(**tunnels(many), **enriched({"service": "\0" + "x" * 100_000})))
    assert len(found.findings) <= 50
    assert all(len(finding.operator or "") <= 512 for finding in found.findings)
    assert not any("\0" in (finding.operator or "") for finding in found.findings)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["operator", "type", "anonymous", "vpn", "service", "tor"]), inner)
    ),
    max_leaves=8,
)


@given(json_values, json_values, json_values)
def test_no_event_makes_the_classification_raise(first: Any, second: Any, third: Any) -> None:
    """Any JSON value in the fields with evidence is classified or ignored."""
    Evidence().classify(event(**tunnels(first), **categories(second), **enriched(third)))
    list(ipinfo_kinds(first))
    list(maxmind_kinds(second))


def test_all_kinds_are_documented() -> None:
    """All kinds are documented in order, the worst first."""
    text = Path("docs/detection.md").read_text("utf-8")
    table = text.partition("## Kinds of anonymizers")[2].partition("\n## ")[0]
    rows = [line.split("|")[1].strip(" `") for line in table.splitlines() if line.startswith("| `")]
    assert rows == [str(kind) for kind in Kind]
