"""Select addresses in a network. A stored address is a text as Okta wrote it, and can be anything."""

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network


def spellings(network: Network) -> list[str]:
    """Return the ways of writing a single address: IPv6 can be short, without leading zeros, or in full."""
    one = network.network_address
    if not isinstance(one, IPv6Address):
        return [str(one)]
    groups = (f"{int(group, 16):x}" for group in one.exploded.split(":"))
    return list(dict.fromkeys((one.compressed, ":".join(groups), one.exploded)))


def prefix_of(network: Network) -> str:
    """Return the text that all addresses of an IPv4 network begin with; empty if there is none, or for IPv6."""
    if network.version == 6:  # noqa: PLR2004 -- IPv6
        return ""
    octets = str(network.network_address).split(".")[: network.prefixlen // 8]
    return "".join(f"{octet}." for octet in octets) if len(octets) < 4 else ".".join(octets)  # noqa: PLR2004 -- IPv4


def lies_in(text: str | None, network: Network) -> bool:
    """Return whether a text is an address in the network."""
    try:
        return ip_address(text or "") in network
    except ValueError:  # a stranger's text
        return False
