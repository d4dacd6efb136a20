"""Sets of address ranges."""

from bisect import bisect_right
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Self


class Networks:
    """An immutable set of IPv4 and IPv6 ranges. Looks up an address in logarithmic time.

    The ranges are merged and sorted: Apple publishes some 280,000 ranges of its relay.
    """

    def __init__(self, ranges: Iterable[IPv4Network | IPv6Network] = ()) -> None:
        spans: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for network in ranges:
            first = int(network.network_address)
            spans[network.version].append((first, first + network.num_addresses - 1))
        self._spans = {version: _merged(version_spans) for version, version_spans in spans.items()}
        self.empty = not any(spans.values())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse one range per line: a CIDR, or a CSV line that begins with one, as Apple publishes them.

        Skip empty lines and lines that begin with ``#``. Raise ValueError with the number of an invalid line.
        """
        ranges = []
        for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
            cell = line.partition(",")[0].strip(' "\t')
            if not cell or cell.startswith("#"):
                continue
            try:
                ranges.append(ip_network(cell, strict=False))
            except ValueError:
                raise ValueError(f"line {number}: expected an address range such as 192.0.2.0/24") from None
        return cls(ranges)

    def __contains__(self, address: str | None) -> bool:
        """Return whether an address lies in one of the ranges. Text that is not an address does not."""
        if address is None or self.empty:
            return False
        try:
            wanted = ip_address(address)
        except ValueError:
            return False
        firsts, lasts = self._spans[wanted.version]
        at = bisect_right(firsts, int(wanted)) - 1
        return at >= 0 and int(wanted) <= lasts[at]


def _merged(spans: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    firsts: list[int] = []
    lasts: list[int] = []
    for first, last in sorted(spans):
        if lasts and first <= lasts[-1] + 1:
            lasts[-1] = max(lasts[-1], last)
        else:
            firsts.append(first)
            lasts.append(last)
    return firsts, lasts


NO_NETWORKS = Networks()
