"""Generate sign-in events in the format of Okta's LogEvent. The same seed, count and start produce the same events.

The generator is independent of the simulator, whose changes would affect the measurements. It generates only
`user.session.start`, the type that the default rule's filter selects. One event in fifty comes through an anonymizing
proxy, from one of forty people.
"""

import dataclasses
import datetime as dt
import random
import string
from collections.abc import Iterator
from typing import Any

MATCH_EVERY = 50
"""One in this number of events matches the rule for anonymizing proxies, exactly 2 %."""
PEOPLE = 12_000
"""A person signs in about five times a day, and rarely three times in half an hour."""
ANONYMOUS_PEOPLE = 40
SPAN = dt.timedelta(days=7)
"""The time range of the events."""

_ID = string.ascii_letters + string.digits
_GIVEN = ("Ada", "Bram", "Chidi", "Dolores", "Elif", "Farid", "Greta", "Hana", "Ines", "Jonas", "Kofi", "Léa")
_FAMILY = (
    "Abara",
    "Brandt",
    "Castillo",
    "Dvořák",
    "Eriksen",
    "Fontaine",
    "Grünwald",
    "Haddad",
    "Ito",
    "Jansen",
)
_PLACES = (
    ("Utrecht", "Utrecht", "Netherlands", "3511", 52.0908, 5.1222),
    ("Lyon", "Rhône", "France", "69001", 45.7676, 4.8344),
    ("Austin", "Texas", "United States", "78701", 30.2711, -97.7437),
    ("Osaka", "Ōsaka", "Japan", "530-0001", 34.6937, 135.5023),
    ("Recife", "Pernambuco", "Brazil", "50010", -8.0631, -34.8711),
)
_NETWORKS = (
    (64496, "meridian broadband", "meridian broadband b.v.", "meridian.example"),
    (64497, "northline fiber", "northline fiber inc.", "northline.example"),
    (64498, "hikari mobile", "hikari mobile k.k.", "hikari.example"),
)
_ANONYMIZERS = (
    (64505, "quietport hosting", "quietport ltd", "quietport.example", "QUIETPORT_VPN"),
    (64506, "fogbank networks", "fogbank llc", "fogbank.example", "FOGBANK_VPN"),
    (64507, "apple relay egress", "apple relay egress", "relay.example", "APPLE_ICLOUD_RELAY_PROXY"),
)
_DEVICES = (
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
        "Windows 10",
        "CHROME",
        "Computer",
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
        "Mac OS X",
        "SAFARI",
        "Computer",
    ),
    (
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
        "Android",
        "CHROME",
        "Mobile",
    ),
)

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class _Person:
    """An invented person, with the fields that all their events share."""

    actor: Json
    client: Json
    security: Json
    tunnels: str | None
    addresses: tuple[str, ...]


def sign_ins(count: int, *, start: dt.datetime, seed: int = 0) -> Iterator[Json]:
    """Yield `count` sign-ins in order within SPAN after `start`, each in a different millisecond."""
    rng = random.Random(seed)
    people = [_person(rng, anonymous=number < ANONYMOUS_PEOPLE) for number in range(PEOPLE)]
    anonymous, ordinary = people[:ANONYMOUS_PEOPLE], people[ANONYMOUS_PEOPLE:]
    step = SPAN // count
    matching = 0
    for number in range(count):
        position = number % MATCH_EVERY
        if position == 0:
            matching = rng.randrange(MATCH_EVERY)
        person = rng.choice(anonymous if position == matching else ordinary)
        moment = start + number * step + rng.random() * (step - dt.timedelta(milliseconds=1))
        yield _event(rng, person, moment)


def _person(rng: random.Random, *, anonymous: bool) -> _Person:
    """Return a random person who uses an anonymizing proxy or an ordinary network."""
    given, family = rng.choice(_GIVEN), rng.choice(_FAMILY)
    agent, system, browser, device = rng.choice(_DEVICES)
    if anonymous:
        number, organisation, isp, domain, operator = rng.choice(_ANONYMIZERS)
        tunnels = f'[{{"anonymous":true,"operator":"{operator}","type":"VPN"}}]'
        # Three sign-ins in four use the usual exit, the others a second one.
        usual, other = (f"198.51.100.{rng.randrange(1, 255)}" for _ in range(2))
        addresses: tuple[str, ...] = (usual, usual, usual, other)
    else:
        number, organisation, isp, domain = rng.choice(_NETWORKS)
        tunnels = None
        addresses = (f"203.0.113.{rng.randrange(1, 255)}", f"2001:db8:{rng.randrange(1, 0xFFFF):x}::1")
    return _Person(
        actor={
            "id": "00u" + _token(rng, 17),
            "type": "User",
            "alternateId": f"{given}.{family}{rng.randrange(1000)}@example.com".lower(),
            "displayName": f"{given} {family}",
            "detailEntry": None,
        },
        client={
            "userAgent": {"rawUserAgent": agent, "os": system, "browser": browser},
            "zone": "null",
            "device": device,
            "id": None,
        },
        security={
            "asNumber": number,
            "asOrg": organisation,
            "isp": isp,
            "domain": domain,
            "isProxy": anonymous,
        },
        tunnels=tunnels,
        addresses=addresses,
    )


def _event(rng: random.Random, person: _Person, moment: dt.datetime) -> Json:
    """Return a sign-in. Its fields have the names and the order of a real event."""
    address = rng.choice(person.addresses)
    request = f"{rng.getrandbits(128):032x}"
    version = "V6" if ":" in address else "V4"
    failed = rng.random() < 0.08
    city, state, country, postal_code, latitude, longitude = rng.choice(_PLACES)
    where = {
        "city": city,
        "state": state,
        "country": country,
        "postalCode": postal_code,
        "geolocation": {"lat": latitude, "lon": longitude},
    }
    debug: Json = {
        "requestId": request,
        "requestUri": "/idp/idx/identify",
    }
    if person.tunnels is not None:
        debug["tunnels"] = person.tunnels
    return {
        "actor": person.actor,
        "client": person.client | {"ipAddress": address, "geographicalContext": where},
        "authenticationContext": {
            "authenticationProvider": None,
            "credentialProvider": None,
            "interface": None,
            "authenticationStep": 0,
            "externalSessionId": "idx" + _token(rng, 22),
        },
        "displayMessage": "User login to Okta",
        "eventType": "user.session.start",
        "outcome": {
            "result": "FAILURE" if failed else "SUCCESS",
            "reason": "INVALID_CREDENTIALS" if failed else None,
        },
        "published": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "securityContext": person.security,
        "severity": "INFO",
        "debugContext": {"debugData": debug},
        "legacyEventType": f"core.user_auth.login_{'failed' if failed else 'success'}",
        "transaction": {"type": "WEB", "id": request, "detail": {}},
        "uuid": _uuid(rng),
        "version": "0",
        "request": {
            "ipChain": [{"ip": address, "geographicalContext": None, "version": version, "source": None}]
        },
        "target": None,
    }


def _token(rng: random.Random, length: int) -> str:
    """Return an id in Okta's format: letters and digits."""
    return "".join(rng.choices(_ID, k=length))


def _uuid(rng: random.Random) -> str:
    """Return a random UUID (version 4)."""
    bits = f"{rng.getrandbits(128):032x}"
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-a{bits[17:20]}-{bits[20:]}"
