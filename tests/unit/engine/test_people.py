"""What is new for a person."""

from datetime import timedelta
from typing import Any

from oktawatch.engine.people import newcomers
from oktawatch.model.sighting import Sighting
from tests.support.databases import NOW

DAY = timedelta(days=1)


def sighting(address: str, *, days_ago: float, **changes: Any) -> Sighting:
    """Return a person's sighting at an address in Norway that began some days ago."""
    known: dict[str, Any] = {
        "org": "acme",
        "actor_id": "00u1",
        "client_ip": address,
        "actor_alternate_id": "nora@example.com",
        "first_at": NOW - days_ago * DAY,
        "last_at": NOW,
        "successes": 1,
        "failures": 0,
        "as_number": 64500,
        "country": "Norway",
        "anonymizer": None,
        "operator": None,
        "anonymizer_at": None,
    }
    return Sighting(**known | changes)


def new(*sightings: Sighting) -> list[tuple[str, str]]:
    """Return what is new, the latest first."""
    return [(newcomer.what, newcomer.value) for newcomer in newcomers(sightings, now=NOW)]


HOME = sighting("198.51.100.9", days_ago=60)


def test_only_the_address_is_new_in_a_known_network() -> None:
    """Only the address is new if its country and network were used before."""
    assert new(HOME, sighting("198.51.100.10", days_ago=1)) == [("address", "198.51.100.10")]


def test_every_attribute_of_a_new_place_is_new() -> None:
    """Country, network, address and anonymizer are new, each since its first use."""
    away = sighting(
        "203.0.113.7", days_ago=2, country="Iceland", as_number=64501, anonymizer="proxy", operator="EXAMPLE_VPN",
        anonymizer_at=NOW - DAY,
    )  # fmt: skip
    assert new(HOME, away) == [
        ("anonymizer", "EXAMPLE_VPN"), ("country", "Iceland"), ("network", "AS64501"), ("address", "203.0.113.7"),
    ]  # fmt: skip


def test_after_a_week_nothing_is_new() -> None:
    """Something that a person first used over a week ago is not new."""
    assert new(HOME, sighting("203.0.113.7", days_ago=8, country="Iceland")) == []


def test_nothing_is_new_for_a_new_person() -> None:
    """Nothing is new for a person whose first sign-in is recent."""
    assert new(sighting("203.0.113.7", days_ago=1), sighting("203.0.113.8", days_ago=0.5)) == []
    assert new() == []


def test_a_missing_attribute_is_never_new() -> None:
    """A missing country, network or address is not new."""
    assert new(HOME, sighting("", days_ago=1, country=None, as_number=None)) == []
