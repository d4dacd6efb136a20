"""`make bench`: every contender on the same pages, in turn, round after round; the ratios are what counts.

In each round all contenders run one after the other, so that a machine that is slower for a minute is slower
for all of them. Each one's best round counts: whatever else the machine does can only make a program slower.
A contender that did not store each event, or found another number of matches than there are, fails the run:
it would be fast for the wrong reason.
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
    """A contender on one kind of pages, as its row in the table names it."""

    name: str
    module: str
    options: tuple[str, ...] = ()

    def command(self, ready: machine.Ready, database: pathlib.Path) -> list[str]:
        """Return the arguments that run it on all of a server's pages."""
        said = json.dumps(dataclasses.asdict(ready))
        return [f"benchmarks.contenders.{self.module}", said, str(database), *self.options]


_ISAL = ("--inflate", "isal")
_PLAIN = (
    Entry("wire", "wire"),
    Entry("floor", "floor"),
    Entry("limit", "limit"),
    Entry("limit, ahead", "limit", ("--ahead",)),
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
    Entry("oktawatch", "backfill"),
    Entry("oktawatch, all rules", "backfill", ("--all-rules",)),
)
FLOOR, LIMIT = "floor", "limit"
"""The rows that the others are compared with; on gzipped pages these inflate with isal, as oktawatch does."""


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One run of a contender: events a second, and the share of its core that the server was busy."""

    rate: float
    server_busy: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: the best round; the worst one says how quiet the machine was."""

    pages: str
    name: str
    rate: float
    worst: float
    times_floor: float
    of_limit: float
    server_busy: float | None


def measure(entry: Entry, server: machine.RunningServer) -> Run:
    """Run a contender once on a new database; ClientError when it did not do the whole job."""
    with tempfile.TemporaryDirectory(prefix="oktawatch-bench-") as folder:
        database = pathlib.Path(folder) / "bench.db"
        before = server.cpu_seconds()
        measured = machine.measured(entry.command(server.ready, database))
        after = server.cpu_seconds()
        if entry.module != "wire":
            with contextlib.closing(sqlite3.connect(database)) as connection:
                (stored,) = connection.execute("SELECT count(*) FROM events").fetchone()
            done, due = (stored, measured["matches"]), (server.ready.events, server.ready.matches)
            if done != due:
                raise machine.ClientError(f"{entry.name}: (events, matches) are {done}, not {due}")
    busy = None if before is None or after is None else (after - before) / measured["seconds"]
    return Run(measured["events"] / measured["seconds"], busy)


def table(pages: str, rounds: list[dict[str, Run]]) -> Iterator[Row]:
    """Turn the rounds on one kind of pages into rows."""
    best = {name: max((runs[name] for runs in rounds), key=lambda run: run.rate) for name in rounds[0]}
    for name, run in best.items():
        yield Row(
            pages=pages,
            name=name,
            rate=run.rate,
            worst=min(runs[name].rate for runs in rounds),
            times_floor=run.rate / best[FLOOR].rate,
            of_limit=run.rate / best[LIMIT].rate,
            server_busy=run.server_busy,
        )


def show(rows: list[Row]) -> None:
    """Print the table."""
    print(f"{'pages':9}{'contender':22}{'events/s':>10}{'worst':>10}{'x floor':>9}{'of limit':>10}  server")
    for row in rows:
        busy = "" if row.server_busy is None else f"{row.server_busy:8.0%}"
        print(
            f"{row.pages:9}{row.name:22}{row.rate:10,.0f}{row.worst:10,.0f}"
            f"{row.times_floor:9.2f}{row.of_limit:10.0%}{busy}"
        )


def main() -> int:
    """Run all of it; 1 when a contender failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="events a second, as ratios")
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
