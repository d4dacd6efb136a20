"""Measure loading and searching a large list of networks: `python -m benchmarks.evidence`.

The list has 280,000 ranges in the format of Apple's list, in both address families. Durations are processor time, so that
other programs on the machine affect them little. The memory is measured in a separate load, because measuring it takes
several times as long as loading.
"""

import argparse
import gc
import ipaddress
import pathlib
import random
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable

from benchmarks import machine
from oktawatch.detection.evidence import EvidenceSource
from oktawatch.engine.evidence_files import EvidenceFile, load_file
from oktawatch.model.anonymizer_kind import AnonymizerKind

LOAD_BOUND_S, MEMORY_BOUND_MB, FIND_BOUND_US = 1.0, 60.0, 3.0
"""The goals for 280,000 ranges."""
_IPV4_SHARE = 0.1
_REPETITIONS = 5
_LOOKUPS = 100_000


def ranges(count: int, seed: int) -> list[str]:
    """Return distinct ranges that don't overlap, like a relay's: a tenth of them IPv4 /29, the others IPv6 /64."""
    generator = random.Random(seed)
    ipv4 = int(count * _IPV4_SHARE)
    networks = [
        str(ipaddress.IPv4Network((number << 3, 29))) for number in generator.sample(range(1 << 29), ipv4)
    ]
    base = int(ipaddress.IPv6Address("2a02:26f7::"))
    numbers = generator.sample(range(1 << 32), count - ipv4)
    networks += [str(ipaddress.IPv6Network((base + (number << 64), 64))) for number in numbers]
    generator.shuffle(networks)
    return networks


def seconds(function: Callable[[], object]) -> float:
    """Return the least processor time of several calls."""
    times = []
    for _ in range(_REPETITIONS):
        gc.collect()
        began = time.process_time()
        function()
        times.append(time.process_time() - began)
    return min(times)


def memory_mb(file: EvidenceFile) -> tuple[float, float]:
    """Return the memory of a loaded list, and the peak while it is loaded, in MB."""
    gc.collect()
    tracemalloc.start()
    source = load_file(file)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if source.size == 0:
        raise machine.ClientError("nothing was loaded")
    return kept / 1e6, peak / 1e6


def find_us(source: EvidenceSource, addresses: list[str]) -> float:
    """Return the processor time of one look-up in microseconds."""

    def find_all() -> None:
        for address in addresses:
            source.find(address)

    return seconds(find_all) / len(addresses) * 1e6


def measured(count: int, seed: int) -> dict[str, float]:
    """Write a list, load it and search it. Raises ClientError if its ranges aren't found."""
    networks = ranges(count, seed)
    with tempfile.TemporaryDirectory(prefix="oktawatch-bench-") as folder:
        path = pathlib.Path(folder) / "ranges.csv"
        path.write_text("".join(f"{network},NO,NO-46,Bergen,\n" for network in networks))
        file = EvidenceFile(name="relay", path=path, kind=AnonymizerKind.RELAY)
        kept, peak = memory_mb(file)
        load_s = seconds(lambda: load_file(file))
        source = load_file(file)
    generator = random.Random(seed + 1)
    inside = [network.partition("/")[0] for network in generator.choices(networks, k=_LOOKUPS)]
    outside = [str(ipaddress.IPv6Address(generator.getrandbits(128))) for _ in range(_LOOKUPS)]
    if source.size != count or not all(map(source.find, inside)):
        raise machine.ClientError(f"{source.size:,} ranges were loaded, not {count:,}, or some are not found")
    return {
        "ranges": count,
        "load_cpu_s": round(load_s, 3),
        "memory_mb": round(kept, 1),
        "peak_mb": round(peak, 1),
        "find_inside_cpu_us": round(find_us(source, inside), 2),
        "find_outside_cpu_us": round(find_us(source, outside), 2),
    }


def main() -> int:
    """Measure, print and save the result. Return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evidence", description=__doc__)
    parser.add_argument("--ranges", type=int, default=280_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        document = measured(given.ranges, given.seed)
    except machine.ClientError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    bounds = {
        "load_cpu_s": LOAD_BOUND_S,
        "peak_mb": MEMORY_BOUND_MB,
        "find_inside_cpu_us": FIND_BOUND_US,
        "find_outside_cpu_us": FIND_BOUND_US,
    }
    missed = [name for name, bound in bounds.items() if document[name] >= bound]
    for name, value in document.items():
        print(f"{name:20}{value:>12}{'  missed: ' + str(bounds[name]) if name in missed else ''}")
    saved = document | {"machine": machine.facts(pinned=False)}
    print(f"written to {machine.save('evidence', saved).relative_to(machine.ROOT)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
