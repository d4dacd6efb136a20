"""Which way a request leaves: through the egress proxy, or directly.

``poll.proxy`` counts for every org; where it isn't set, ``HTTPS_PROXY`` does for those with an https URL.
Either way ``NO_PROXY`` names what is reached directly, in the words that curl and Go know: ``*``, a host
with everything below it, an address or a network, each but ``*`` and a network perhaps with a port.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

_PORTS = {"http": 80, "https": 443}
_WITH_PORT = re.compile(r"(?P<host>\[[^]]*\]|[^:]*):(?P<port>[0-9]{1,5})", re.ASCII).fullmatch


@dataclass(frozen=True)
class Egress:
    """What the environment says of ways out."""

    proxy: SecretStr | None = None
    """``HTTPS_PROXY``."""
    direct: tuple[str, ...] = ()
    """The entries of ``NO_PROXY``."""

    def proxy_for(self, url: str, configured: SecretStr | None) -> SecretStr | None:
        """Give the URL of the proxy that leads to an org's URL; None for the direct way."""
        parts = urlsplit(url)
        proxy = configured or (self.proxy if parts.scheme == "https" else None)
        host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS[parts.scheme]
        if proxy is None or any(_covers(entry, host, port) for entry in self.direct):
            return None
        return proxy


def entries(no_proxy: str) -> tuple[str, ...]:
    """Take the text of ``NO_PROXY`` apart."""
    return tuple(entry for entry in re.split(r"[\s,]+", no_proxy.lower()) if entry)


def _covers(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    with_port = _WITH_PORT(entry)
    if with_port is not None:
        entry = with_port["host"]
        if int(with_port["port"]) != port:
            return False
    try:
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        name = entry.removeprefix("*").strip(".")
        return host == name or (bool(name) and host.endswith(f".{name}"))
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:
        return False
