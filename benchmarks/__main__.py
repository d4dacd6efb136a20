"""Run `make bench`: measure all contenders on the same pages and compare them by ratio.

In each round all contenders run one after the other, so a temporarily slow machine affects all of them. The best round of
a contender counts, because other load can only slow it down. The run fails if a contender didn't store all events, or
found a wrong number of matches.
"""

import argparse
import contextlib
import dataclasses
import json
import pathlib
import sqlite3
import sys
import tempfile
from collections.abc import Iterator

from benchmarks import machine


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A contender on one kind of pages: a row of the table."""

    name: str
    module: str
    options: tuple[str, ...] = ()

    def command(self, ready: machine.Ready, database: pathlib.Path) -> list[str]:
        """Return the arguments to run the contender on all pages of a server."""
        ready_json = json.dumps(dataclasses.asdict(ready))
        return [f"benchmarks.contenders.{self.module}", ready_json, str(database), *self.options]


_ISAL = ("--inflate", "isal")
_PLAIN = (
    Entry("wire", "wire"),
    Entry("floor", "floor"),
    Entry("limit", "limit"),
    Entry("limit, ahead", "limit", ("--ahead",)),
    Entry("limit, remembering", "remembering"),
    Entry("oktawatch", "backfill"),
    Entry("oktawatch, all rules", "backfill", ("--all-rules",)),
)
_GZIPPED = (
    Entry("wire, zlib", "wire"),
    Entry("wire, isal", "wire", _ISAL),
    Entry("floor, zlib", "floor"),
    Entry("floor", "floor", _ISAL),
    Entry("limit, zlib", "limit"),
    Entry("limit", "limit", _ISAL),
    Entry("limit, ahead", "limit", (*_ISAL, "--ahead")),
    Entry("limit, remembering", "remembering", _ISAL),
    Entry("oktawatch", "backfill"),
    Entry("oktawatch, all rules", "backfill", ("--all-rules",)),
)
FLOOR, LIMIT, REMEMBERING = "floor", "limit", "limit, remembering"
"""The reference rows. On gzipped pages they decompress with isal, like oktawatch."""


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """A run of a contender: events per second, and the CPU usage of the server's core."""

    rate: float
    server_busy: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: the best round. The worst round shows how much the machine was disturbed."""

    pages: str
    name: str
    rate: float
    worst: float
    times_floor: float
    of_limit: float
    of_remembering: float
    server_busy: float | None


def measure(entry: Entry, server: machine.RunningServer) -> Run:
    """Run a contender once with a new database. Raises ClientError if it didn't process everything."""
    with tempfile.TemporaryDirectory(prefix="oktawatch-bench-") as folder:
        database = pathlib.Path(folder) / "bench.db"
        before = server.cpu_seconds()
        measured = machine.measured(entry.command(server.ready, database))
        after = server.cpu_seconds()
        if entry.module != "wire":
            with contextlib.closing(sqlite3.connect(database)) as connection:
                (stored,) = connection.execute("SELECT count(*) FROM events").fetchone()
            actual, expected = (stored, measured["matches"]), (server.ready.events, server.ready.matches)
            if actual != expected:
                raise machine.ClientError(f"{entry.name}: (events, matches) are {actual}, not {expected}")
    busy = None if before is None or after is None else (after - before) / measured["seconds"]
    return Run(measured["events"] / measured["seconds"], busy)


def table(pages: str, rounds: list[dict[str, Run]]) -> Iterator[Row]:
    """Yield the rows for the rounds on one kind of pages."""
    best = {name: max((runs[name] for runs in rounds), key=lambda run: run.rate) for name in rounds[0]}
    for name, run in best.items():
        yield Row(
            pages=pages,
            name=name,
            rate=run.rate,
            worst=min(runs[name].rate for runs in rounds),
            times_floor=run.rate / best[FLOOR].rate,
            of_limit=run.rate / best[LIMIT].rate,
            of_remembering=run.rate / best[REMEMBERING].rate,
            server_busy=run.server_busy,
        )


def show(rows: list[Row]) -> None:
    """Print the table."""
    print(
        f"{'pages':9}{'contender':22}{'events/s':>10}{'worst':>10}{'x floor':>9}{'of limit':>10}{'remembering':>12}  server"
    )
    for row in rows:
        busy = "" if row.server_busy is None else f"{row.server_busy:8.0%}"
        print(
            f"{row.pages:9}{row.name:22}{row.rate:10,.0f}{row.worst:10,.0f}"
            f"{row.times_floor:9.2f}{row.of_limit:10.0%}{row.of_remembering:12.0%}{busy}"
        )


def main() -> int:
    """Run all rounds. Return 1 if a contender failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare events per second.")
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rows: list[Row] = []
    pinned = False
    try:
        for pages, entries in (("identity", _PLAIN), ("gzip", _GZIPPED)):
            print(f"building {given.events:,} events as {pages} pages", file=sys.stderr)
            with machine.serving(given.events, gzipped=pages == "gzip", seed=given.seed) as server:
                pinned = machine.pin(machine.CLIENT_CORE)
                rounds: list[dict[str, Run]] = []
                for number in range(given.rounds):
                    print(f"{pages}: round {number + 1} of {given.rounds}", file=sys.stderr)
                    rounds.append({entry.name: measure(entry, server) for entry in entries})
                rows += table(pages, rounds)
    except machine.ClientError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    show(rows)
    document = vars(given) | {
        "machine": machine.facts(pinned=pinned),
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    print(f"written to {machine.save('bench', document).relative_to(machine.ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
