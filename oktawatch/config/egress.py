"""Select the proxy for a URL.

``poll.proxy`` applies to all URLs. If it isn't set, ``HTTPS_PROXY`` applies to https URLs. ``NO_PROXY`` lists the
exceptions to both, in the syntax of curl and Go: ``*``, a host and its subdomains, an address, or a network. A host or an
address can have a port.
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
    """The proxy settings in the environment."""

    proxy: SecretStr | None = None
    """``HTTPS_PROXY``."""
    no_proxy: tuple[str, ...] = ()
    """The entries of ``NO_PROXY``."""

    def proxy_for(self, url: str, configured: SecretStr | None) -> SecretStr | None:
        """Return the URL of the proxy for a URL. None for a direct connection."""
        parts = urlsplit(url)
        proxy = configured or (self.proxy if parts.scheme == "https" else None)
        host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS[parts.scheme]
        if proxy is None or any(_covers(entry, host, port) for entry in self.no_proxy):
            return None
        return proxy


def split_no_proxy(no_proxy: str) -> tuple[str, ...]:
    """Split the text of ``NO_PROXY`` into its entries."""
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
