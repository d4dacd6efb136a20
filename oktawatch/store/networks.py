"""Select addresses in a network. A stored address is the text that Okta sent, which can be anything."""

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network


def spellings(network: Network) -> list[str]:
    """Return all notations of the only address of a network (/32 or /128).

    An IPv6 address has up to three: compressed (``::``), all groups without leading zeros, and all groups in full.
    """
    address = network.network_address
    if not isinstance(address, IPv6Address):
        return [str(address)]
    groups = (f"{int(group, 16):x}" for group in address.exploded.split(":"))
    return list(dict.fromkeys((address.compressed, ":".join(groups), address.exploded)))


def prefix_of(network: Network) -> str:
    """Return the common prefix of all addresses of an IPv4 network as text. It is empty for IPv6."""
    if network.version == 6:  # noqa: PLR2004 -- IPv6
        return ""
    octets = str(network.network_address).split(".")[: network.prefixlen // 8]
    return "".join(f"{octet}." for octet in octets) if len(octets) < 4 else ".".join(octets)  # noqa: PLR2004 -- IPv4


def lies_in(text: str | None, network: Network) -> bool:
    """Return whether a text is an address in the network."""
    try:
        return ip_address(text or "") in network
    except ValueError:  # the text is not an address
        return False
