"""Measure the memory of a long backfill: `python -m benchmarks.memory`, with a million events by default.

The kernel reports the peak when the process has exited. Samples from /proc show whether memory grows: the highest sample
of the first half of the run, including start-up, is compared with the highest of the second half.
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
    """Return the resident memory of a process in MB. None without /proc, or if the process has exited."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS:")), None)


def watched(arguments: list[str], log: pathlib.Path) -> tuple[float, list[float]]:
    """Run a program, and return its peak and its samples in MB. Raises ClientError if it failed."""
    samples: list[float] = []
    with log.open("w+") as output:
        process = subprocess.Popen(arguments, env=machine.environment(), stdout=output, stderr=output)
        ended = 0
        while not ended:
            time.sleep(_EVERY_SECONDS)
            size = resident(process.pid)
            if size is not None:
                samples.append(size)
            # process.poll() doesn't report the memory of this child; wait4 does.
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise machine.ClientError(
            f"{arguments[2]} exited with {process.returncode}: {log.read_text()[-2000:]}"
        )
    # getrusage(2) reports KiB on Linux and bytes on macOS.
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6, samples


def measured(count: int, seed: int) -> dict[str, object]:
    """Run a backfill of `count` events, and return its memory. Raises ClientError if it failed or lost events."""
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
        raise machine.ClientError(f"{stored:,} events were stored, not {count:,}")
    half = len(samples) // 2
    return {
        "events": count,
        "peak_mb": round(max(peak, *samples), 1),
        "first_half_mb": round(max(samples[:half]), 1) if half else None,
        "second_half_mb": round(max(samples[half:]), 1) if half else None,
        "machine": machine.facts(pinned=pinned),
    }


def main() -> int:
    """Measure, print and save the result. Return 1 if the backfill failed."""
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
