"""Sets of address ranges."""

from bisect import bisect_right
from collections.abc import Iterable
from io import StringIO
from ipaddress import ip_network
from socket import AF_INET, AF_INET6, inet_pton
from typing import NamedTuple, Self


class Range(NamedTuple):
    """An address range."""

    length: int
    """Bytes of an address: 4 or 16."""
    first: int
    """The first address."""
    host_bits: int
    """The number of host bits: addresses of the range differ only in these last bits."""


class Networks:
    """An immutable set of IPv4 and IPv6 ranges. Finds an address in logarithmic time.

    Ranges are not kept as objects, because Apple's list has some 280,000: the first addresses are integers in a
    sorted list, and the numbers of host bits are the bytes of an array.
    """

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        packed: dict[int, list[int]] = {4: [], 16: []}
        for length, first, host_bits in ranges:
            # Of ranges with the same first address, the largest is sorted first: it contains the others.
            packed[length].append((first << 8) | (8 * length - host_bits))
        self._tables = {length: _table(8 * length, found) for length, found in packed.items()}
        self.size = sum(len(firsts) for firsts, _ in self._tables.values())
        """The number of ranges. A range within another range is not counted."""

    @property
    def empty(self) -> bool:
        """Whether the set has no range."""
        return not self.size

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse one range per line: a CIDR, or CSV with a CIDR in the first column, like Apple's list.

        Skip empty lines and lines that begin with ``#``. Raise ValueError with the number of the first invalid line.
        """
        return cls.parse_lines(StringIO(text.removeprefix("\ufeff")))

    @classmethod
    def parse_lines(cls, lines: Iterable[str]) -> Self:
        """Parse the lines of a file, without keeping its text in memory. Raise ValueError as `parse` does."""
        return cls(_ranges(lines))

    def __contains__(self, address: str | None) -> bool:
        """Return whether an address lies in one of the ranges. False for text that is not an address."""
        if not address or not self.size:
            return False
        try:
            packed = inet_pton(AF_INET6 if ":" in address else AF_INET, address)
        except (OSError, ValueError):
            return False
        firsts, host_bits = self._tables[len(packed)]
        value = int.from_bytes(packed)
        index = bisect_right(firsts, value) - 1
        return index >= 0 and (value ^ firsts[index]) >> host_bits[index] == 0


def _ranges(lines: Iterable[str]) -> Iterable[Range]:
    for number, line in enumerate(lines, start=1):
        cell = line.partition(",")[0].strip(' "\t\r\n')
        if cell and not cell.startswith("#"):
            try:
                yield _range_of(cell)
            except ValueError:
                raise ValueError(f"line {number}: expected an address range such as 192.0.2.0/24") from None


def _range_of(cell: str) -> Range:
    address, _, prefix = cell.partition("/")
    if not (prefix.isascii() and prefix.isdigit()):
        # No prefix, or a netmask: `ip_network` understands them, but takes ten times as long.
        network = ip_network(cell, strict=False)
        return Range(
            network.max_prefixlen // 8,
            int(network.network_address),
            network.max_prefixlen - network.prefixlen,
        )
    try:
        packed = inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    except OSError:
        raise ValueError(cell) from None
    host_bits = 8 * len(packed) - int(prefix)
    if host_bits < 0:
        raise ValueError(cell)
    return Range(len(packed), int.from_bytes(packed) >> host_bits << host_bits, host_bits)


def _table(bits: int, packed: list[int]) -> tuple[list[int], bytearray]:
    """Return the sorted first addresses and the numbers of host bits, without ranges that lie in another range."""
    packed.sort()
    host_bits = bytearray()
    count, end = 0, -1  # the number of kept ranges, and the last address of the latest range
    for value in packed:
        first, size = value >> 8, bits - (value & 255)
        if first > end:
            packed[count] = first  # in place: a second list would double the peak memory
            host_bits.append(size)
            count, end = count + 1, first + (1 << size) - 1
    del packed[count:]
    return packed, host_bits


NO_NETWORKS = Networks()
