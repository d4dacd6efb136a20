"""The memory of a long backfill: `python -m benchmarks.memory`, over a million events by default.

The peak is what the kernel says of the finished process. That it is flat shows in samples taken on the way,
where /proc has them: the highest of the first half of the run, start-up included, beside the highest of the
second half.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from benchmarks import machine
from benchmarks.contenders import backfill

_EVERY_SECONDS = 0.05


def resident(pid: int) -> float | None:
    """Return a process's resident memory in MB; None where /proc does not say, or no longer."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS:")), None)


def watched(arguments: list[str], log: pathlib.Path) -> tuple[float, list[float]]:
    """Run a program to its end; return its peak and the samples, in MB. ClientError when it failed."""
    samples: list[float] = []
    with log.open("w+") as output:
        process = subprocess.Popen(arguments, env=machine.environment(), stdout=output, stderr=output)
        ended = 0
        while not ended:
            time.sleep(_EVERY_SECONDS)
            size = resident(process.pid)
            if size is not None:
                samples.append(size)
            # Not process.poll(): only wait4 says what this one child used.
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise machine.ClientError(
            f"{arguments[2]} ended with {process.returncode}: {log.read_text()[-2000:]}"
        )
    # Linux counts in KiB, macOS in bytes: getrusage(2) of either.
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6, samples


def measured(count: int, seed: int) -> dict[str, object]:
    """Run one backfill of `count` events and return its memory; ClientError when it failed or stored less."""
    with (
        machine.serving(count, gzipped=True, seed=seed) as server,
        tempfile.TemporaryDirectory(prefix="oktawatch-bench-") as folder,
    ):
        pinned = machine.pin(machine.CLIENT_CORE)
        database = pathlib.Path(folder) / "bench.db"
        arguments = backfill.command(server.ready, database)
        peak, samples = watched(arguments, database.with_suffix(".log"))
        stored = backfill.counted(database, "events")
    if stored != count:
        raise machine.ClientError(f"{stored:,} events are stored, not {count:,}")
    half = len(samples) // 2
    return {
        "events": count,
        "peak_mb": round(max(peak, *samples), 1),
        "first_half_mb": round(max(samples[:half]), 1) if half else None,
        "second_half_mb": round(max(samples[half:]), 1) if half else None,
        "machine": machine.facts(pinned=pinned),
    }


def main() -> int:
    """Measure, print, write; 1 when the backfill failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(f"building {given.events:,} events as gzip pages", file=sys.stderr)
    try:
        document = measured(given.events, given.seed)
    except machine.ClientError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name in ("events", "peak_mb", "first_half_mb", "second_half_mb"):
        print(f"{name:15}{document[name]}")
    print(f"written to {machine.save('memory', document).relative_to(machine.ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
