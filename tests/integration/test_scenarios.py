"""Every rule on every scenario: exactly the attacks cause alerts."""

import ipaddress
from collections import Counter
from datetime import timedelta
from functools import cache

import pytest

from oktawatch.detection.registry import RuleSet, build_rules
from oktawatch.engine.backfill import Backfiller
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pipeline import Watch
from oktawatch.engine.poll import Poller
from oktawatch.simulator import SCENARIOS, SimulatedOrg, build, running
from oktawatch.simulator.people import ANONYMIZERS, ATTACKER
from oktawatch.store.orgs import register_orgs
from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.client import LogClient
from oktawatch.systemlog.transport import open_session
from tests.support.databases import ORG, create_schema, rows
from tests.support.logclient import NOW, TOKEN, Clock
from tests.support.places import Place

ATTACKS = {
    "password-spray": "Okta.Shared.Device.Token",
    "invalid-users": "Okta.Failed.Logins.Unknown.User",
    "session-replay": "Okta.Session.Cookie.Replay",
    "many-sessions": "Okta.Multiple.Sessions",
    "first-proxy": "Okta.First.Proxied.Session",
    "admin-after-risky-sign-in": "Okta.High.Risk.Admin.Activity",
    "blocked-anonymizer": "Okta.Request.Blocked.Anonymizer",
    "new-device-critical-operation": "Okta.New.Device.Critical.Operation",
}
"""The scenarios with attacks, each with the rule that finds them."""

HOUR = timedelta(hours=1)
SPAN = 16 * HOUR
PAGE = 100


@cache
def org_of(scenario: str) -> SimulatedOrg:
    """Return the org of a scenario, two hours after its end, so that every attack is complete.

    Generating events takes longer than reading them, and reading doesn't change the org, so all tests share it.
    """
    org = SimulatedOrg(now=Clock(), token=TOKEN)
    # After its span there are hardly any visits.
    org.play(build([scenario], start=NOW - 2 * HOUR, span=SPAN, rate=30, live_rate=0.001))
    return org


@cache
def attackers(scenario: str) -> set[str]:
    """Return the addresses of the attacks. Each is used by one attack only."""
    nets = [ipaddress.ip_network(f"{network.prefix}/26") for network in (ATTACKER, ANONYMIZERS[0])]
    seen = {event["client"]["ipAddress"] for event in org_of(scenario).events}
    return {one for one in seen if any(ipaddress.ip_address(one) in net for net in nets)}


@pytest.fixture
def rules() -> RuleSet:
    """Return all rules, enabled."""
    return build_rules({}, enable=["*"], read_file=str)


@pytest.mark.parametrize("scenario", [*ATTACKS, "quiet"])
@pytest.mark.parametrize("way", ["live", "backfill"])
async def test_exactly_the_attacks_of_a_scenario_are_alerts(
    place: Place, rules: RuleSet, scenario: str, way: str
) -> None:
    """With all rules enabled, each attack raises one alert from its address, and nothing else does."""
    database = DatabaseExecutor(place.url, create=True)
    org = org_of(scenario)
    with running(org) as url:
        async with open_session(None) as session:
            await database.run(create_schema)
            await database.run(register_orgs, [ORG], now=NOW)
            source = LogClient(OrgAccess(ORG, url, TOKEN), session=session)
            watch = Watch(org=ORG, rules=rules)
            if way == "live":
                poller = Poller(
                    source,
                    database,
                    watch,
                    page_size=PAGE,
                    initial_lookback=SPAN + 3 * HOUR,
                    now=lambda: NOW,
                )
                result = await poller.round()
            else:
                backfiller = Backfiller(source, database, watch, page_size=PAGE, now=lambda: NOW)
                result = await backfiller.run(
                    command="backfill", since=NOW - SPAN - 3 * HOUR, until=NOW, notify=False
                )
    found = rows(database.database, "alerts")
    database.close()
    assert result.pages > 5
    assert org.violations == 0
    attacked = attackers(scenario)
    assert len(attacked) > 1 or scenario == "quiet"
    expected = Counter({(ATTACKS[scenario], address): 1 for address in attacked} if attacked else {})
    assert Counter((alert["rule_id"], alert["client_ip"]) for alert in found) == expected


def test_every_scenario_with_an_attack_is_tested() -> None:
    """A new scenario with attacks must be added to this test."""
    assert {name for name, scenario in SCENARIOS.items() if scenario.own_people} == ATTACKS.keys()
