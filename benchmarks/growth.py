"""Measure how backfills and look-ups slow down as the database grows: `python -m benchmarks.growth`.

For each number of events, a database is filled by SQL (`benchmarks.past`), with 100,000 alerts unless it is empty. Then
people, addresses and alerts are looked up, and a backfill with all rules adds pages. The ten million events need 10 GB of
disk and some minutes.
"""

import argparse
import dataclasses
import datetime as dt
import ipaddress
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import machine, past
from benchmarks.contenders import reading
from oktawatch.engine.people import address_profiles, person_profiles
from oktawatch.model.alert import AlertStatus
from oktawatch.model.severity import Severity
from oktawatch.store import sighting_queries
from oktawatch.store.alerts import AlertFilter, count_alerts, list_alerts
from oktawatch.store.database import Database

_ALERTS = 100_000
_PEOPLE_LOOKED_UP = 5
_SHOWN = 20

Lookups = dict[str, Callable[[int], object]]
"""Named functions, each of which takes the number of a person and looks up this person or their address."""


@dataclasses.dataclass(frozen=True, slots=True)
class Lookup:
    """The slowest of several look-ups of different people."""

    name: str
    seconds: float
    cpu_seconds: float


def lookups(database: Database, now: dt.datetime) -> Lookups:
    """Return the look-ups of people and addresses."""

    def network(number: int, bits: int = 32) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network((past.person(number)[2], bits), strict=False)

    def novelty(number: int) -> object:
        actor_id, _, address = past.person(number)
        return sighting_queries.novelty(
            database, reading.ORG, actor_id, address, as_number=64496, country="Norway", at=now
        )

    def user(number: int) -> object:
        return person_profiles(database, past.person(number)[1], orgs=(), since=None, limit=_SHOWN, now=now)

    def ip(number: int) -> object:
        return address_profiles(database, network(number), orgs=(), since=None, limit=_SHOWN, now=now)

    return {
        "novelty": novelty,
        "person by id": lambda number: sighting_queries.person(database, None, past.person(number)[0]),
        "person by login": lambda number: sighting_queries.person(database, None, past.person(number)[1]),
        "address": lambda number: sighting_queries.address(database, None, network(number)),
        "network /24": lambda number: sighting_queries.address(database, None, network(number, 24)),
        "oktawatch user": user,
        "oktawatch ip": ip,
    }


def alert_lists(database: Database, now: dt.datetime) -> Lookups:
    """Return functions that list a hundred alerts and count all, as `alerts list` does, with different filters."""
    filters: dict[str, Callable[[int], AlertFilter]] = {
        "": lambda _: AlertFilter(),
        " --since": lambda _: AlertFilter(since=now - dt.timedelta(days=30)),
        " --severity --status": lambda _: AlertFilter(severity=Severity.HIGH, statuses=[AlertStatus.OPEN]),
        " --country --as": lambda _: AlertFilter(countries=["chile"], as_numbers=[64496]),
        " --actor": lambda number: AlertFilter(actors=[f"{past.person(number)[1][:-12]}*"]),
        " --ip": lambda number: AlertFilter(networks=[ipaddress.ip_network(past.person(number)[2])]),
    }

    def listing(wanted: Callable[[int], AlertFilter]) -> Callable[[int], object]:
        def run(number: int) -> object:
            return list_alerts(database, wanted(number), limit=100), count_alerts(database, wanted(number))

        return run

    return {f"alerts list{name}": listing(wanted) for name, wanted in filters.items()}


def timed(functions: Lookups, people: int) -> Iterator[Lookup]:
    """Run each look-up for several people, and yield its longest times."""
    for name, function in functions.items():
        spans = []
        for number in range(_PEOPLE_LOOKED_UP):
            began, began_cpu = time.perf_counter(), time.process_time()
            function(number * (people - 1) // _PEOPLE_LOOKED_UP)
            spans.append((time.perf_counter() - began, time.process_time() - began_cpu))
        yield Lookup(name, *(max(values) for values in zip(*spans, strict=True)))


def measure(server: machine.RunningServer, folder: pathlib.Path, count: int) -> dict[str, Any]:
    """Measure a database with a number of events. Raises ClientError if the backfill failed."""
    path = folder / f"{count}.db"
    alerts = _ALERTS if count else 0
    until = dt.datetime.fromisoformat(server.ready.since)
    print(f"filling {count:,} events", file=sys.stderr)
    past.fill(path, reading.ORG, events=count, alerts=alerts, until=until)
    print(f"measuring at {count:,} events", file=sys.stderr)
    database = Database(f"sqlite:///{path}")
    functions = lookups(database, until) | (alert_lists(database, until) if alerts else {})
    found = list(timed(functions, past.people(count)))
    database.close()
    size = path.stat().st_size
    arguments = [
        "benchmarks.contenders.backfill",
        json.dumps(dataclasses.asdict(server.ready)),
        str(path),
        "--all-rules",
    ]
    run = machine.measured(arguments)
    path.unlink()
    return {
        "events": count,
        "megabytes": round(size / 1e6),
        "rate": server.ready.events / run["seconds"],
        "lookups": [dataclasses.asdict(lookup) for lookup in found],
    }


def show(rows: list[dict[str, Any]]) -> None:
    """Print the results."""
    for row in rows:
        print(
            f"{row['events']:,} events, {row['megabytes']:,} MB: {row['rate']:,.0f} events/s with all rules"
        )
        for lookup in row["lookups"]:
            print(f"  {lookup['name']:34}{lookup['seconds']:8.3f} s{lookup['cpu_seconds']:8.3f} s CPU")


def main() -> int:
    """Measure at all sizes. Return 1 if a backfill failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 1_000_000, 10_000_000])
    parser.add_argument("--events", type=int, default=60_000, help="the events that the backfill adds")
    given = parser.parse_args()
    try:
        with (
            machine.serving(given.events, gzipped=False, seed=0) as server,
            tempfile.TemporaryDirectory(prefix="oktawatch-bench-") as folder,
        ):
            pinned = machine.pin(machine.CLIENT_CORE)
            rows = [measure(server, pathlib.Path(folder), count) for count in given.sizes]
    except machine.ClientError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    show(rows)
    document = vars(given) | {"machine": machine.facts(pinned=pinned), "rows": rows}
    print(f"written to {machine.save('growth', document).relative_to(machine.ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
