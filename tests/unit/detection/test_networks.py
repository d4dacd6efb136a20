"""Sets of address ranges."""

import time
import tracemalloc
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.detection.networks import NO_NETWORKS, Networks

# A small part of each address family, so that drawn ranges touch, overlap and contain drawn addresses.
corner_addresses = st.integers(0, 255).map(
    lambda n: ip_address(int(ip_address("192.0.2.0")) + n)
) | st.integers(0, 255).map(lambda n: ip_address(int(ip_address("2001:db8::")) + n))
addresses = corner_addresses | st.ip_addresses()
ranges = st.tuples(corner_addresses, st.integers(0, 9)).map(
    lambda drawn: ip_network(f"{drawn[0]}/{drawn[0].max_prefixlen - drawn[1]}", strict=False)
)


@given(st.lists(ranges, max_size=12), addresses)
def test_a_set_contains_the_addresses_of_its_ranges(found: list[object], address: object) -> None:
    """A set of ranges contains the addresses that ipaddress finds in one of its ranges."""
    text = "\n".join(map(str, found))
    assert (str(address) in Networks.parse(text)) is any(
        address in network for network in map(ip_network, map(str, found))
    )


@pytest.mark.parametrize("text", [None, "", "x", "203.0.113", "203.0.113.7/32", "null", "\0", "203.0.113.7 "])
def test_a_text_that_is_not_an_address_is_in_no_range(text: str | None) -> None:
    """A text that is not an address is in no range, and raises nothing."""
    assert text not in Networks.parse("0.0.0.0/0\n::/0")


def test_apples_list_and_a_plain_list_are_read() -> None:
    """Lists can have a location after the range, quotes, comments, empty lines and a byte order mark."""
    text = '\ufeff# relay\n\n192.0.2.0/25,NO,NO-46,"Bergen, West",\r\n "2001:db8::/64" \n198.51.100.9\n'
    found = Networks.parse(text)
    assert all(address in found for address in ("192.0.2.127", "2001:db8::1", "198.51.100.9"))
    assert not any(address in found for address in ("192.0.2.128", "2001:db8:0:1::", "198.51.100.8"))


@pytest.mark.parametrize("line", ["192.0.2.0/33", "relay.example.com", "192.0.2.0-192.0.2.9"])
def test_an_invalid_line_is_named(line: str) -> None:
    """The error has the number of the invalid line."""
    with pytest.raises(ValueError, match=r"^line 3: expected an address range such as 192\.0\.2\.0/24$"):
        Networks.parse(f"# list\n192.0.2.0/24\n{line}\n")


def test_an_empty_set_contains_no_address() -> None:
    """The default set contains no address."""
    assert "203.0.113.7" not in NO_NETWORKS
    assert NO_NETWORKS.empty


@pytest.mark.slow
def test_a_relays_list_is_loaded_and_searched_quickly() -> None:
    """280,000 ranges in a second and 60 MB, and an address in 3 µs: bounds with room for a busy machine."""
    lines = [f"2a02:{n >> 8:x}:{n & 255:x}00::/45,NO,NO-46,Bergen," for n in range(280_000)]
    text = "\n".join(lines)
    del lines
    tracemalloc.start()
    networks = Networks.parse(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert networks.size == 280_000
    assert peak < 60_000_000
    started = time.process_time()
    Networks.parse(text)
    assert time.process_time() - started < 2
    started = time.process_time()
    found = sum("2a02:7:9900::1" in networks for _ in range(10_000))
    assert found == 10_000
    assert time.process_time() - started < 0.06


def test_netmasks_and_nested_ranges() -> None:
    """Netmasks are understood, host bits are ignored, and a range within another range changes nothing."""
    found = Networks.parse("192.0.2.9/255.255.255.0\n192.0.2.128/25\n192.0.2.0/24\n")
    assert found.size == 1
    assert "192.0.2.200" in found
    assert "192.0.3.0" not in found
