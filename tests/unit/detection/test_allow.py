"""Allow entries: the entries that apply to a match, and those that would apply to every match."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from oktawatch.detection.allow import AllowEntry, AllowList, Candidate
from oktawatch.detection.rule import origin_of
from oktawatch.detection.rules.anonymizing_vpn_login import AnonymizingVpnLogin
from oktawatch.model.anonymizer_kind import Anonymizer
from oktawatch.model.anonymizer_kind import AnonymizerKind as Kind
from oktawatch.model.match import Match, MatchOrigin
from tests.unit.detection.events import event

R1 = AnonymizingVpnLogin.id
ORGS = {"acme": ("prod",), "sandbox": ()}
EVERY = (R1, "Okta.Multiple.Sessions")
NORD = {"tunnels": [{"operator": "NORD_VPN", "anonymous": True}]}


def entry(**conditions: Any) -> AllowEntry:
    """Return an entry with a reason."""
    return AllowEntry(reason="London office", **conditions)


def match(**changes: Any) -> Match:
    """Return the match of a sign-in through NordVPN from the zone Office."""
    body: dict[str, Any] = {
        "client": {"ipAddress": "203.0.113.7", "zone": "Office"},
        "debugContext": {"debugData": NORD},
    }
    return AnonymizingVpnLogin().match(event(**body | changes))


def entry_for(entry: AllowEntry, match: Match) -> str | None:
    """Return the id of the entry if it applies to a match in the org acme."""
    allowed = AllowList([entry]).allowed(match, "acme", ORGS["acme"])
    return allowed.entry if allowed else None


HOLDING: dict[str, tuple[Any, ...]] = {
    "rules": ("Okta.Anonymizing.*",),
    "orgs": ("#prod",),
    "actors": ("NORA@*",),
    "networks": ("2001:db8::/32", "203.0.113.0/24"),
    "as_numbers": (64499, 64500),
    "zones": ("Office",),
    "kinds": (Kind.TOR, Kind.COMMERCIAL_VPN),
    "operators": ("nord_vpn",),
}
"""Conditions that hold for the match."""
FAILING: dict[str, tuple[Any, ...]] = {
    "rules": ("Okta.Multiple.*",),
    "orgs": ("#other", "sandbox"),
    "actors": ("*@example.org",),
    "networks": ("203.0.113.8", "203.0.113.0/30"),
    "as_numbers": (64501,),
    "zones": ("office",),
    "kinds": (Kind.TOR,),
    "operators": ("NORD",),
}
"""Conditions that don't hold."""


@pytest.mark.parametrize("name", HOLDING)
def test_a_condition_holds_if_one_of_its_values_fits(name: str) -> None:
    """A condition holds if one of its values matches."""
    values = HOLDING[name] + FAILING[name]
    assert entry_for(entry(**{name: values}), match())
    assert not entry_for(entry(**{name: FAILING[name]}), match())


@pytest.mark.parametrize("name", HOLDING)
def test_all_conditions_must_hold(name: str) -> None:
    """An entry with one condition that doesn't hold does not apply."""
    assert entry_for(entry(**HOLDING), match())
    assert not entry_for(entry(**HOLDING | {name: FAILING[name]}), match())


@pytest.mark.parametrize("name", ["actors", "networks", "as_numbers", "zones", "kinds", "operators"])
def test_an_unknown_value_meets_no_condition(name: str) -> None:
    """A condition doesn't hold for an event that lacks the value."""
    values = {"actors": ("*",), "networks": ("0.0.0.0/0", "::/0"), "kinds": tuple(Kind)}
    bare = match(
        actor={}, client={}, securityContext={"isProxy": None}, debugContext={"debugData": {"tunnels": []}}
    )
    assert not entry_for(entry(**{name: values.get(name, HOLDING[name])}), bare)


@pytest.mark.parametrize("address", ["2001:DB8::7", "2001:0db8:0:0::7"])
def test_addresses_are_compared_as_numbers(address: str) -> None:
    """A condition on addresses holds for any notation of an address."""
    assert entry_for(entry(networks=("2001:db8::/64",)), match(client={"ipAddress": address}))


def test_an_entry_applies_until_the_end_of_its_day() -> None:
    """An entry applies to the end of the day, by event time."""
    until = entry(networks=("203.0.113.7",), until=date(2026, 11, 2))
    last = datetime(2026, 11, 2, 23, 59, 59, 999_000, UTC)
    assert entry_for(until, match(published="2026-11-02T23:59:59.999Z"))
    assert not entry_for(until, match(published="2026-11-03T00:00:00.000Z"))
    assert not until.has_expired(last)
    assert until.has_expired(last + timedelta(milliseconds=1))


def test_the_first_entry_that_applies_counts() -> None:
    """If several entries apply, the first one allows the match."""
    narrow, wide = entry(networks=("203.0.113.7",)), entry(networks=("203.0.113.0/24",))
    allowed = AllowList([narrow, wide]).allowed(match(), "acme", ())
    assert allowed is not None
    assert (allowed.entry, allowed.reason) == (narrow.id, "London office")
    assert (allowed.actor_alternate_id, allowed.client_ip) == ("nora@example.com", "203.0.113.7")
    assert AllowList().allowed(match(), "acme", ()) is None


def test_an_address_is_classified_only_if_a_decision_depends_on_it() -> None:
    """Other conditions are tested first, and several entries share the classification."""
    calls = []

    def anonymizer() -> Anonymizer:
        calls.append(1)
        return Anonymizer(Kind.TOR, None)

    origin = MatchOrigin(client_ip="203.0.113.7", anonymizer=anonymizer)
    found = Match(
        rule_id=R1, event_uuid="u", published=datetime(2026, 11, 2, tzinfo=UTC), dedup_key="[]",
        severity=AnonymizingVpnLogin().severity, details=match().details, origin=lambda: origin,
    )  # fmt: skip
    elsewhere = entry(networks=("198.51.100.0/24",), kinds=(Kind.TOR,))
    assert AllowList([elsewhere]).allowed(found, "acme", ()) is None
    assert calls == []
    entries = [
        entry(networks=("203.0.113.0/24",), kinds=(kind,)) for kind in (Kind.RELAY, Kind.PROXY, Kind.TOR)
    ]
    assert AllowList(entries).allowed(found, "acme", ()) is not None
    assert calls == [1]


def test_a_partial_event_is_not_classified() -> None:
    """An event from history may lack evidence of a worse kind, so entries for kinds don't apply."""
    whole, rebuilt = (
        origin_of(AnonymizingVpnLogin(), event(), partial_event=partial) for partial in (False, True)
    )
    assert whole.anonymizer() == (Kind.PROXY, None)
    assert rebuilt.anonymizer() is None
    assert rebuilt.client_ip == whole.client_ip


def test_the_id_depends_on_the_conditions_alone() -> None:
    """Order, notation, reason and date don't change the id; each condition does."""
    whole = entry(**HOLDING)
    assert len(whole.id) == 8
    same = AllowEntry(
        reason="Reworded",
        until=date(2027, 1, 31),
        **HOLDING
        | {
            "networks": ("203.0.113.9/24", "2001:0DB8::/32", "203.0.113.0/24"),
            "actors": ("nora@*",),
            "operators": ("Nord_VPN",),
            "as_numbers": (64500, 64499),
        },
    )
    assert same.id == whole.id
    others = {entry(**HOLDING | {name: FAILING[name]}).id for name in HOLDING}
    assert len(others | {whole.id}) == len(HOLDING) + 1


@pytest.mark.parametrize(
    ("conditions", "everything"),
    [
        ({}, True),
        ({"rules": ("*",), "orgs": ("*",), "actors": ("*",)}, True),
        ({"actors": ("nobody@example.com", "*?*")}, True),
        ({"actors": ("*@example.com",)}, False),
        ({"actors": ("?",)}, False),
        ({"rules": ("Okta.*",)}, True),
        ({"rules": (R1,)}, False),
        ({"orgs": ("acme",)}, False),
        ({"orgs": ("#prod", "sandbox")}, True),
        ({"networks": ("0.0.0.0/0", "::/0")}, True),
        ({"networks": ("0.0.0.0/1", "128.0.0.0/1")}, True),
        ({"networks": ("::/0", "203.0.113.0/24")}, True),
        ({"networks": ("0.0.0.0/0",), "as_numbers": (64500,)}, False),
        ({"networks": ("0.0.0.0/1",)}, False),
        ({"kinds": tuple(Kind)}, True),
        ({"kinds": tuple(Kind)[1:]}, False),
        ({"zones": ("Office",)}, False),
        ({"operators": ("NORD_VPN",)}, False),
    ],
)
def test_an_entry_for_everything_is_found(conditions: dict[str, Any], everything: bool) -> None:
    """Wildcards, all rules, all orgs, all kinds and all addresses exclude nothing."""
    assert entry(**conditions).applies_to_everything(EVERY, ORGS) is everything


def test_the_closest_entry_names_its_unmet_conditions() -> None:
    """The entry with the fewest unmet conditions is the closest, and of several the one with the most conditions."""
    candidate = Candidate(
        org="acme",
        rule_id=None,
        published=datetime(2026, 11, 3, tzinfo=UTC),
        origin=MatchOrigin(client_ip="203.0.113.7"),
    )
    far = entry(rules=(R1,), networks=("203.0.113.0/24",), until=date(2026, 11, 2))
    near = entry(actors=("nora@*",), networks=("203.0.113.0/24",))
    other = entry(zones=("Office",))
    closest = AllowList([far, other, near]).closest(candidate)
    assert closest is not None
    assert (closest.entry, closest.unmet, closest.applies) == (near, {"actors": None}, False)
    (farther,) = [AllowList([far]).closest(candidate)]
    assert farther is not None
    assert farther.unmet == {"until": date(2026, 11, 3), "rules": None}
    assert AllowList().closest(candidate) is None
