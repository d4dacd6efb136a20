"""The simulator's events: their content, and that a seed repeats them."""

import ipaddress
import itertools
import json
import re
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from oktawatch.simulator import SCENARIOS, SimulatedOrg, build, generate
from oktawatch.simulator.times import read, to_ms
from tests.support.logclient import NOW, Clock
from tests.support.wireschema import log_event_validator

RESERVED = [
    ipaddress.ip_network(net)
    for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]
ORDINARY = {
    "policy.evaluate_sign_on",
    "user.session.start",
    "user.session.end",
    "user.authentication.auth_via_mfa",
    "user.authentication.sso",
}


def day(*names: str, seed: int = 1, rate: float = 20) -> list[dict[str, Any]]:
    """Return the events of the day before now."""
    org = SimulatedOrg(now=Clock())
    org.play(build(names, seed=seed, start=NOW, rate=rate))
    return org.events


def sign_ins(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the proxied sign-ins among events."""
    return [
        found
        for found in events
        if found["eventType"] == "user.session.start" and found["securityContext"]["isProxy"] is True
    ]


def operators(found: dict[str, Any]) -> list[str | None]:
    """Return the operators that Okta names for an event's address."""
    return [category["operator"] for category in found["securityContext"]["ipDetails"]["ipServiceCategories"]]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_satisfies_the_published_schema(name: str) -> None:
    """Each event of each scenario satisfies the published schema."""
    validator = log_event_validator()
    found = day(name, rate=5)
    assert {event["eventType"] for event in found} >= ORDINARY
    for event in found:
        validator.validate(event)


def test_generated_events_satisfy_the_published_schema() -> None:
    """Each generated event satisfies the published schema."""
    validator = log_event_validator()
    org = SimulatedOrg(now=Clock())
    org.extend(generate(300, end=NOW, proxy_share=0.5))
    for event in org.events:
        validator.validate(event)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_seed_gives_the_same_events(name: str) -> None:
    """One seed gives the same events with the same uuids, and another seed gives others."""
    assert day(name, rate=5) == day(name, rate=5)
    assert day(name, rate=5) != day(name, rate=5, seed=2)


def test_scenarios_do_not_disturb_each_other() -> None:
    """The events of a scenario don't depend on other scenarios."""
    both = {event["uuid"] for event in day("anonymizing-vpn", "apple-relay")}
    vpn, relay, quiet = (
        {event["uuid"] for event in day(name)} for name in ("anonymizing-vpn", "apple-relay", "quiet")
    )
    assert both == vpn | relay
    assert quiet == vpn & relay


@pytest.mark.parametrize("name", [name for name, one in SCENARIOS.items() if one.own_people])
def test_people_in_an_attack_have_no_other_events(name: str) -> None:
    """The people in an attack have no other events."""
    ordinary = {event["uuid"] for event in day("quiet")}
    events = day(name)
    there, added = (
        {event["actor"]["id"] for event in events if (event["uuid"] in ordinary) is usual} - {"unknown"}
        for usual in (True, False)
    )
    assert there
    assert len(events) > len(ordinary)
    assert not there & added


def test_ordinary_people_do_not_sign_in_repeatedly() -> None:
    """No ordinary person has three sessions within half an hour."""
    starts: dict[str, list[int]] = {}
    for event in day("quiet", rate=60):
        if event["eventType"] == "user.session.start" and event["outcome"]["result"] == "SUCCESS":
            starts.setdefault(event["actor"]["id"], []).append(read(event["published"]))
    times = [sorted(found) for found in starts.values()]
    assert max(map(len, times)) > 10
    assert all(
        third - first > 35 * 60_000 for found in times for first, third in zip(found, found[2:], strict=False)
    )


def test_each_event_has_its_own_uuid() -> None:
    """Each event has a unique uuid of version 1 with the event's time, like Okta's."""
    events = day("anonymizing-vpn", "apple-relay")
    uuids = Counter(event["uuid"] for event in events)
    assert max(uuids.values()) == 1
    form = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(form.fullmatch(uuid) for uuid in uuids)


def test_ordinary_traffic_has_no_proxies_but_a_corporate_vpn() -> None:
    """Ordinary traffic has no proxies, only a corporate VPN."""
    events = day("quiet")
    assert {event["securityContext"]["isProxy"] for event in events} == {False, None}
    tunnels = [
        json.loads(text) for event in events if (text := event["debugContext"]["debugData"].get("tunnels"))
    ]
    assert tunnels
    assert all(tunnel["anonymous"] is False for found in tunnels for tunnel in found)


def test_anonymized_sign_ins_succeed_fail_and_repeat() -> None:
    """Several people sign in, with both outcomes, and some of them repeatedly from the same address."""
    found = sign_ins(day("anonymizing-vpn"))
    assert Counter(event["outcome"]["result"] for event in found).keys() == {"SUCCESS", "FAILURE"}
    who = Counter((event["actor"]["id"], event["client"]["ipAddress"]) for event in found)
    assert len(who) > 3
    assert max(who.values()) > 3
    assert "APPLE_ICLOUD_RELAY_PROXY" not in {operator for event in found for operator in operators(event)}


def test_relayed_sign_ins_name_the_relay() -> None:
    """A relayed sign-in has the relay in the address's categories and in the tunnels' JSON text."""
    found = sign_ins(day("apple-relay"))
    assert found
    for event in found:
        assert operators(event) == ["APPLE_ICLOUD_RELAY_PROXY"]
        tunnels = json.loads(event["debugContext"]["debugData"]["tunnels"])
        assert tunnels == [{"anonymous": True, "operator": "APPLE_ICLOUD_RELAY_PROXY", "type": "VPN"}]


def test_debug_data_is_text() -> None:
    """Risk and behaviours are printed maps, and logOnlySecurityData has the same values as JSON in a string."""
    for event in sign_ins(day("anonymizing-vpn")):
        debug = event["debugContext"]["debugData"]
        assert all(isinstance(value, str) for value in debug.values())
        security = json.loads(debug["logOnlySecurityData"])
        assert (
            debug["risk"] == f"{{reasons={security['risk']['reasons']}, level={security['risk']['level']}}}"
        )
        assert (
            debug["behaviors"] == "{" + ", ".join(f"{k}={v}" for k, v in security["behaviors"].items()) + "}"
        )
        assert debug["threatSuspected"] in {"true", "false"}


def test_all_addresses_and_domains_are_reserved() -> None:
    """All addresses and domains are reserved for documentation."""
    for event in day("anonymizing-vpn", "apple-relay"):
        address = ipaddress.ip_address(event["client"]["ipAddress"])
        assert any(address in net for net in RESERVED)
        domain = event["securityContext"]["domain"]
        assert domain is None or re.search(r"(^|\.)example\.(com|org|net)$", domain)
        login = event["actor"]["alternateId"]
        assert "@" not in login or login.endswith("@example.com")


def test_past_and_live_events_have_separate_rates() -> None:
    """Past events have the given rate and later ones the live rate, and none is before the span."""
    stream = build(["quiet"], start=NOW, span=timedelta(hours=10), rate=30, live_rate=3600)
    hour = timedelta(hours=1)
    found = list(itertools.takewhile(lambda pair: pair[0] < NOW + hour, stream))
    visits = [at for at, event in found if event["eventType"] == "policy.evaluate_sign_on"]
    assert all(NOW - 10 * hour <= at for at, _ in found)
    assert [at for at, _ in found] == sorted(at for at, _ in found)
    assert 200 < sum(at < NOW for at in visits) < 400
    assert 3000 < sum(at >= NOW for at in visits) < 4000


def test_events_are_persisted_after_they_are_published_and_out_of_order() -> None:
    """The two orders differ, and no event is persisted before it happened."""
    stream = itertools.islice(build(["anonymizing-vpn"], start=NOW), 500)
    pairs = [(to_ms(at), read(event["published"])) for at, event in stream]
    assert all(published < persisted for persisted, published in pairs)
    assert [published for _, published in pairs] != sorted(published for _, published in pairs)


def test_an_unknown_scenario_is_named() -> None:
    """The error lists the scenarios."""
    with pytest.raises(
        ValueError, match=r"^unknown scenario calm; the scenarios are anonymizing-vpn, .*, quiet$"
    ):
        build(["quiet", "calm"], start=NOW)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_described_in_one_line(name: str) -> None:
    """Each description is one line, for the list of scenarios."""
    scenario = SCENARIOS[name]
    assert scenario.name == name
    assert scenario.description
    assert "\n" not in scenario.description


def test_generated_events_have_the_requested_share_of_proxies() -> None:
    """Generated events are evenly distributed over the span, in persistence order, from the given number of people."""
    org = SimulatedOrg(now=Clock())
    org.extend(generate(5000, end=NOW, span=timedelta(hours=5), proxy_share=0.1, people=7))
    events = org.events
    assert len(events) == 5000
    assert 400 < len(sign_ins(events)) < 600
    assert len({event["actor"]["id"] for event in events}) == 7
    assert len({event["uuid"] for event in events}) == 5000
    sessions = {event["authenticationContext"]["externalSessionId"] for event in events}
    assert len(sessions) == 1 + sum(event["outcome"]["result"] == "SUCCESS" for event in events)
    published = [read(event["published"]) for event in events]
    assert to_ms(NOW - timedelta(hours=5)) - 2000 <= min(published) < max(published) <= to_ms(NOW)


def test_generating_twice_adds_different_events() -> None:
    """Generated events of an org have different uuids, even from one seed."""
    org = SimulatedOrg(now=Clock())
    org.extend(generate(100, end=NOW))
    org.extend(generate(100, end=NOW))
    assert len({event["uuid"] for event in org.events}) == 200
