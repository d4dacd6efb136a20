"""Simulate the sign-ins of an org for a month: ordinary people, and labelled attacks.

The events have the fields that detection reads, in Okta's format. The same seed and size give the same events. Most
people never use an anonymizer. The following people do, with rates from public surveys where they exist:

- Relays: 4 % of the people use iCloud Private Relay on their phones. Network operators see a few per mille of all traffic
  (DENOG 15, 2023, https://media.ccc.de/v/denog15-37329-private-relay-services-insights-from-an-access-network-perspective);
  sign-ins are web traffic of phones, so the assumed rate is higher.
- Habits: 6 % use a VPN whenever they work from home. In a survey of 3,000 people by PCMag (2018), 29 % used a VPN, and
  6 % used one on all of their devices.
- Built-in VPNs: 1 % use a browser with a VPN, a third of Opera's share of desktop browsers (2 to 3 %, StatCounter).
- Public Wi-Fi: 15 % of the people use a VPN on it (PCMag, 2019, 2,000 people). 4 % of the people travel for three days in
  any week. 5 % of the people work in cafés, on one day in ten.
- Gateways: a quarter of the people work behind their company's secure web gateway. Okta marks 5 % of the sign-ins through
  it with `isProxy`.

Everything else is an assumption: two sign-ins per person and workday, half of the days at home, a quarter of the
sign-ins from phones, 8 % of the sign-ins after one or two typing errors, 0.3 % after three to five, 3 % of devices replaced
each month, 2 % of sign-ins from a browser without cookies (a new device to Okta), and high risk for 0.2 % of the
ordinary sign-ins and 2 % of those through an anonymizer. Okta names the service behind half of the exits of VPNs and
relays, and only sets `isProxy` for the others, which belong to hosting companies. Behaviour detection is on.
"""

import dataclasses
import datetime as dt
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

START = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
"""A Monday."""
_WEEK, _WORKDAYS = 7, 5

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Network:
    """A network, as Okta sees it."""

    number: int
    """The AS number. Also selects the addresses."""
    service: Json | None = None
    """An element of `tunnels`, if Okta names a service."""
    is_proxy: bool = False
    proxies: tuple[str, ...] = ()
    """The `associatedProxies`."""
    size: int = 200
    """The number of addresses."""

    def address(self, host: int) -> str:
        """Return an address of the network."""
        return f"2001:db8:{self.number - 64000:x}::{host % self.size + 1:x}"

    @property
    def prefix(self) -> str:
        """The network with all addresses."""
        return f"2001:db8:{self.number - 64000:x}::/48"


def _vpn(operator: str, number: int) -> tuple[Network, Network]:
    """Return the exits of a VPN: those whose service Okta names, and those that Okta only marks with `isProxy`."""
    service = {"anonymous": True, "operator": operator, "type": "VPN"}
    return Network(number, service, is_proxy=True), Network(number + 1, is_proxy=True)


OFFICE = Network(64100, size=4)
PROVIDERS = tuple(Network(64110 + number, size=5_000) for number in range(6))
HOTELS = tuple(Network(64120 + number) for number in range(40))
GATEWAY = Network(64200, {"anonymous": False, "operator": "ZSCALER_PROXY", "type": "VPN"}, size=40)
MARKED_GATEWAY = dataclasses.replace(GATEWAY, is_proxy=True)
RELAYS = _vpn("APPLE_ICLOUD_RELAY_PROXY", 64210)
VPNS = tuple(
    _vpn(f"{name}_VPN", 64220 + 2 * number)
    for number, name in enumerate(("NORD", "EXPRESS", "SURFSHARK", "PROTON", "MULLVAD"))
)
BROWSER = _vpn("OPERA_VPN", 64240)
TOR = Network(64250, {"anonymous": True, "operator": None, "type": "Tor"}, is_proxy=True)
UNNAMED_TOR = Network(64251, is_proxy=True)
RESIDENTIAL = Network(64260, proxies=("OXYLABS_PROXY",))
MARKED_RESIDENTIAL = dataclasses.replace(RESIDENTIAL, is_proxy=True)
HOSTING = tuple(Network(64270 + number, is_proxy=True) for number in range(5))
UNMARKED_HOSTING = Network(64280)


@dataclasses.dataclass(slots=True)
class Person:
    """A person's habits."""

    number: int
    provider: Network
    relay: bool
    vpn: tuple[Network, Network] | None
    """The VPN that the person uses at home."""
    browser_vpn: bool
    public_vpn: tuple[Network, Network] | None
    """The VPN that the person uses on public Wi-Fi."""
    gateway: bool
    cafes: bool
    trip: int = -1
    """The first day of this week's trip, or -1."""
    new_device_day: int = 99
    """The day on which the person gets a new device. 99: never."""

    @property
    def actor(self) -> Json:
        """The actor in events."""
        login = f"user{self.number}@example.com"
        return {"id": f"00u{self.number:05}", "alternateId": login, "displayName": f"User {self.number}"}


@dataclasses.dataclass(frozen=True, slots=True)
class Attack:
    """A labelled attack."""

    kind: str
    name: str
    """The prefix of the uuids of its events."""


ATTACK_KINDS = ("tor", "residential_proxy", "stuffing", "push_bombing", "stolen_session")


class Org:
    """An org with its people, and the attacks on it."""

    def __init__(
        self, people: int = 2_000, days: int = 30, *, lead: int = 30, attacks: int = 4, seed: int = 1
    ) -> None:
        """``lead`` is the number of days before the measured ``days``, which have ``attacks`` attacks of each kind."""
        self._random = rng = random.Random(seed)
        self.days = days
        self._all_days = lead + days
        self.begin = START + dt.timedelta(days=lead)
        self.people = [self._person(number, rng) for number in range(people)]
        self.attacks = [
            Attack(kind, f"attack-{kind}-{number}") for kind in ATTACK_KINDS for number in range(attacks)
        ]
        self._attack_days = {attack: lead + rng.randrange(days) for attack in self.attacks}
        self._count = 0

    def __iter__(self) -> Iterator[tuple[dt.datetime, list[Json]]]:
        """Yield the start and the events of each day, in order of time."""
        for day in range(self._all_days):
            found = [event for person in self.people for event in self._person_day(person, day)]
            for attack in self.attacks:
                if self._attack_days[attack] == day:
                    found += self._attack(attack, day)
            yield (
                START + dt.timedelta(days=day),
                sorted(found, key=lambda event: (event["published"], event["uuid"])),
            )

    def _person(self, number: int, rng: random.Random) -> Person:
        uses_vpn = rng.random() < 0.06
        return Person(
            number=number,
            provider=rng.choice(PROVIDERS),
            relay=rng.random() < 0.04,
            vpn=rng.choice(VPNS) if uses_vpn else None,
            browser_vpn=rng.random() < 0.01,
            public_vpn=rng.choice(VPNS) if rng.random() < 0.15 else None,
            gateway=rng.random() < 0.25,
            cafes=rng.random() < 0.05,
            new_device_day=rng.randrange(self._all_days) if rng.random() < 0.03 * self._all_days / 30 else 99,
        )

    def _person_day(self, person: Person, day: int) -> Iterator[Json]:
        rng = self._random
        if day % _WEEK == 0:
            person.trip = day + rng.randrange(3) if rng.random() < 0.04 else -1
        if day % _WEEK >= _WORKDAYS and rng.random() > 0.1:
            return
        at_home = rng.random() < 0.5
        in_cafe = person.cafes and rng.random() < 0.1
        travels = 0 <= person.trip <= day < person.trip + 3
        is_new = day == person.new_device_day
        for _ in range(rng.choice((1, 1, 2, 2, 2, 3, 3))):
            on_phone = rng.random() < 0.25
            network = self._network(person, at_home, in_cafe or travels, on_phone)
            moment = dt.timedelta(days=day, seconds=rng.gauss(12, 2.5) % 24 * 3600)
            behaviours = [
                *(["New Device"] if is_new or rng.random() < 0.02 else []),
                *(["New Geo-Location"] if travels and day == person.trip else []),
            ]
            is_new = False
            anonymous = network.is_proxy or network.service is not None
            risk = "HIGH" if rng.random() < (0.02 if anonymous else 0.002) else "LOW"
            address = person.number if network in PROVIDERS else rng.randrange(10_000)
            chance = rng.random()
            failures = rng.randint(3, 5) if chance < 0.003 else rng.randint(1, 2) if chance < 0.083 else 0
            for failure in range(failures):
                before = moment - dt.timedelta(seconds=20 * (failures - failure))
                yield self._event(before, person.actor, network, address, behaviours, risk, failed=True)
            yield self._event(moment, person.actor, network, address, behaviours, risk)

    def _network(self, person: Person, at_home: bool, is_public: bool, on_phone: bool) -> Network:
        rng = self._random
        if person.relay and on_phone and rng.random() < 0.6:
            return rng.choice(RELAYS)
        if is_public:
            return rng.choice(person.public_vpn) if person.public_vpn else rng.choice(HOTELS)
        if at_home and person.vpn:
            return rng.choice(person.vpn)
        if at_home and person.browser_vpn and not on_phone:
            return rng.choice(BROWSER)
        if person.gateway and not on_phone:
            return MARKED_GATEWAY if rng.random() < 0.05 else GATEWAY
        return person.provider if at_home or on_phone else OFFICE

    def _attack(self, attack: Attack, day: int) -> Iterator[Json]:
        rng = self._random
        at = dt.timedelta(days=day, hours=rng.uniform(1, 22))
        victim = rng.choice(
            [person for person in self.people if attack.kind != "stolen_session" or person.vpn]
        )
        new = ["New Device", *(["New Geo-Location"] if rng.random() < 0.7 else [])]
        if attack.kind == "tor":
            network = rng.choice((TOR, TOR, UNNAMED_TOR))
            succeeds = rng.random() < 0.5
            for number in range(3):
                failed = number < 2 or not succeeds
                yield self._event(
                    at, victim.actor, network, number, new, "HIGH", failed=failed, attack=attack
                )
                at += dt.timedelta(minutes=2)
        elif attack.kind == "residential_proxy":
            network = rng.choice((RESIDENTIAL, MARKED_RESIDENTIAL))
            yield self._event(at, victim.actor, network, day, new, "MEDIUM", attack=attack)
        elif attack.kind == "stuffing":
            yield from self._stuffing(attack, at)
        elif attack.kind == "push_bombing":
            network = rng.choice(HOSTING)
            for number in range(6):
                failed = number < 5
                yield self._event(at, victim.actor, network, day, new, "MEDIUM", failed=failed, attack=attack)
                at += dt.timedelta(minutes=5)
        else:  # the thief uses the same VPN as the victim
            assert victim.vpn is not None
            yield self._event(
                at, victim.actor, rng.choice(victim.vpn), 77, ["New Device"], "LOW", attack=attack
            )

    def _stuffing(self, attack: Attack, at: dt.timedelta) -> Iterator[Json]:
        """Try a leaked password for each of many people. One password is right."""
        rng = self._random
        victims = rng.sample(self.people, min(60, len(self.people)))
        networks: Sequence[Network] = (*HOSTING, UNMARKED_HOSTING, MARKED_RESIDENTIAL)
        for number, victim in enumerate(victims):
            failed = number != len(victims) // 2
            # Okta evaluates behaviours after the password, so failures have none.
            behaviours = [] if failed else ["New Device", "New Geo-Location"]
            network = rng.choice(networks)
            host = rng.randrange(20)
            yield self._event(
                at, victim.actor, network, host, behaviours, "MEDIUM", failed=failed, attack=attack
            )
            at += dt.timedelta(seconds=rng.randint(5, 40))

    def _event(
        self,
        at: dt.timedelta,
        actor: Json,
        network: Network,
        host: int,
        behaviours: Sequence[str],
        risk: str,
        *,
        failed: bool = False,
        attack: Attack | None = None,
    ) -> Json:
        self._count += 1
        published = (START + at).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        results = (f"{name}=POSITIVE" for name in behaviours)
        tunnels = json.dumps([network.service]) if network.service else None
        return {
            "uuid": f"{attack.name if attack else 'person'}-{self._count:07}",
            "published": published,
            "eventType": "user.session.start",
            "actor": actor,
            "client": {"ipAddress": network.address(host)},
            "outcome": {"result": "FAILURE", "reason": "INVALID_CREDENTIALS"}
            if failed
            else {"result": "SUCCESS"},
            "securityContext": {"asNumber": network.number, "isProxy": network.is_proxy},
            "debugContext": {
                "debugData": {
                    "tunnels": tunnels,
                    "associatedProxies": json.dumps(network.proxies) if network.proxies else None,
                    "behaviors": f"{{{', '.join(results)}}}",
                    "risk": f"{{level={risk}}}",
                }
            },
        }
