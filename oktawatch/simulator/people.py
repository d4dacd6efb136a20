"""The people of the org, and the places and networks from which they sign in. All of them are invented.

IP addresses and autonomous system numbers (RFC 5398) come from the ranges reserved for documentation.
"""

import random
from dataclasses import dataclass

from .ids import digest, object_id

_GIVEN = (
    "Adaeze", "Aino", "Amaru", "Bettina", "Callum", "Chiara", "Dagny", "Davor", "Eilidh", "Emre", "Farah", "Femi",
    "Goran", "Hanneke", "Ines", "Ishaan", "Jolanta", "Kaito", "Kenji", "Leilani", "Lorcan", "Mairead", "Mateus",
    "Nadia", "Noor", "Oskar", "Paloma", "Quentin", "Renske", "Rafael", "Saoirse", "Sunniva", "Tamar", "Tomasz",
    "Ursula", "Vikram", "Wanjiru", "Xiomara", "Yusuf", "Zeynep",
)  # fmt: skip
_FAMILY = (
    "Abernethy", "Achterberg", "Balogun", "Brennand", "Castellane", "Czarnik", "Dalgaard", "Dunmore", "Eskildsen",
    "Falkenrath", "Garrow", "Hollenbeck", "Ishikure", "Jankauskas", "Kettunen", "Lindqvister", "Marchetto",
    "Nakagome", "Okonjo", "Pellegrine", "Quintela", "Rasmuson", "Sethuraman", "Thackray", "Ulvestad", "Vasquera",
    "Wetherall", "Xanthou", "Yilmazer", "Zelenka",
)  # fmt: skip


@dataclass(frozen=True)
class City:
    """A place, as in `client.geographicalContext`."""

    name: str
    state: str
    country: str
    postal_code: str
    lat: float
    lon: float


@dataclass(frozen=True)
class Exit:
    """An exit of a VPN or proxy service: an entry of `ipServiceCategories` and of `tunnels`."""

    type: str
    operator: str | None
    anonymous: bool


@dataclass(frozen=True)
class Network:
    """A range of addresses and its operator. An address is `prefix` and a host number."""

    as_number: int | None
    """None for addresses that Okta doesn't know. Their `isProxy` is null."""

    as_org: str | None
    isp: str | None
    domain: str | None
    prefix: str
    exit: Exit | None = None

    def address(self, host: int) -> str:
        """Return the address of a host, 1 to 60."""
        if ":" in self.prefix:
            return f"{self.prefix}{host:x}"
        net, _, first = self.prefix.rpartition(".")
        return f"{net}.{int(first) + host}"


@dataclass(frozen=True)
class Device:
    """A browser or program on a device."""

    user_agent: str
    os: str
    browser: str
    kind: str
    token_hash: str
    """`dtHash`, the same in all events of a device."""


@dataclass(frozen=True)
class Person:
    """A user of the org."""

    id: str
    name: str
    login: str
    home: City
    network: Network
    host: int
    devices: tuple[Device, ...]
    factor_id: str


CITIES = (
    City("Rotterdam", "South Holland", "Netherlands", "3011", 51.9225, 4.4792),
    City("Leeds", "England", "United Kingdom", "LS1", 53.7997, -1.5492),
    City("Columbus", "Ohio", "United States", "43215", 39.9612, -82.9988),
    City("Portland", "Oregon", "United States", "97204", 45.5152, -122.6784),
    City("Austin", "Texas", "United States", "78701", 30.2672, -97.7431),
    City("Halifax", "Nova Scotia", "Canada", "B3J", 44.6488, -63.5752),
    City("Gdańsk", "Pomerania", "Poland", "80-001", 54.3520, 18.6466),
    City("Bengaluru", "Karnataka", "India", "560001", 12.9716, 77.5946),
    City("São Paulo", "São Paulo", "Brazil", "01000", -23.5505, -46.6333),
    City("Nairobi", "Nairobi County", "Kenya", "00100", -1.2921, 36.8219),
    City("Fukuoka", "Fukuoka", "Japan", "810-0001", 33.5904, 130.4017),
    City("Wellington", "Wellington", "New Zealand", "6011", -41.2866, 174.7756),
)
ACCESS_NETWORKS = (
    Network(64496, "harbour broadband", "harbour broadband", "harbour.example.net", "203.0.113.0"),
    Network(64497, "northwind cable", "northwind cable", "northwind.example.net", "203.0.113.64"),
    Network(64498, "metro fibre cooperative", "metro fibre", "metrofibre.example.net", "203.0.113.128"),
    Network(64499, "cirrus mobile", "cirrus mobile", None, "203.0.113.192"),
    Network(65536, "harbour broadband", "harbour broadband", "harbour.example.net", "2001:db8:10::"),
    Network(None, None, None, None, "2001:db8:20::"),
)
CORPORATE_VPN = Network(
    64500, "example corp", "example corp", "example.com", "198.51.100.0", Exit("VPN", "EXAMPLE_CORP_VPN", anonymous=False)
)  # fmt: skip
ATTACKER = Network(64508, "nightjar hosting", "nightjar hosting", "nightjar.example.org", "192.0.2.192")
"""A hosting provider that Okta doesn't classify as a proxy."""
ANONYMIZERS = (
    Network(64501, "burrow networks", "burrow vpn", "burrow.example.org", "198.51.100.64", Exit("VPN", "BURROW_VPN", anonymous=True)),
    Network(64502, "lagoon hosting", "lagoon hosting", "lagoon.example.org", "198.51.100.128", Exit("VPN", "HOTSPOT_VPN", anonymous=True)),
    Network(64503, "onion friends association", None, None, "192.0.2.0", Exit("Tor", None, anonymous=True)),
    Network(64504, "kestrel peers", "kestrel peers", "kestrel.example.org", "192.0.2.64", Exit("Residential Proxy", "KESTREL_PROXY", anonymous=True)),
    Network(64505, None, None, None, "2001:db8:66::", Exit("Proxy", "OCULUS_PROXY", anonymous=True)),
)  # fmt: skip
RELAYS = (
    Network(64506, "edge relay one", "icloud private relay", "relay.example.net", "192.0.2.128", Exit("VPN", "APPLE_ICLOUD_RELAY_PROXY", anonymous=True)),
    Network(64507, "edge relay two", "icloud private relay", None, "2001:db8:99::", Exit("VPN", "APPLE_ICLOUD_RELAY_PROXY", anonymous=True)),
)  # fmt: skip
_DEVICES = (
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36", "Windows 10", "CHROME", "Computer"),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36", "Mac OS X", "CHROME", "Computer"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0", "Linux", "FIREFOX", "Computer"),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0", "Windows 10", "EDGE", "Computer"),
    ("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36", "Android 10", "CHROME", "Mobile"),
)  # fmt: skip
_APPLE_DEVICES = (
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1", "iOS 18.6 (iPhone)", "SAFARI", "Mobile"),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15", "Mac OS X", "SAFARI", "Computer"),
)  # fmt: skip
SCRIPT = Device("python-requests/2.32.3", "Unknown", "UNKNOWN", "Unknown", "")
"""A script that signs in like a browser. Callers set its `token_hash`."""


def population(rng: random.Random, count: int) -> list[Person]:
    """Return `count` people with distinct logins."""
    people: list[Person] = []
    for index in range(count):
        given, family = rng.choice(_GIVEN), rng.choice(_FAMILY)
        login = f"{given}.{family}".lower()
        taken = any(person.login.startswith(f"{login}@") for person in people)
        people.append(
            Person(
                id=object_id(rng, "00u"),
                name=f"{given} {family}",
                login=f"{login}{index if taken else ''}@example.com",
                home=rng.choice(CITIES),
                network=rng.choice(ACCESS_NETWORKS),
                host=rng.randint(1, 60),
                devices=tuple(device(rng) for _ in range(rng.choice((1, 1, 2)))),
                factor_id=object_id(rng, "pfd"),
            )
        )
    return people


def device(rng: random.Random) -> Device:
    """Return a random device."""
    return Device(*rng.choice(_DEVICES + _APPLE_DEVICES), digest(rng))


def apple_device(rng: random.Random) -> Device:
    """Return a device that can use iCloud Private Relay."""
    return Device(*rng.choice(_APPLE_DEVICES), digest(rng))
