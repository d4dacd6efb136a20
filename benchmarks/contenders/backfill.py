"""oktawatch itself: `oktawatch backfill`, run as a person runs it, with the default rule or with every rule on.

Its summary says how long the reading took, from before the first request to after the last commit: the same
span that the other contenders measure. (A run over the whole window, less one over a single page, takes the
same time to 3 %.) What it did is not taken from its summary but counted in the database.
"""

import contextlib
import json
import pathlib
import sqlite3
import subprocess
import sys

from benchmarks import machine
from benchmarks.contenders import reading

DEFAULT_RULE = "Okta.Anonymizing.VPN.Login"
"""The rule whose matches each contender must find, whatever other rules are on."""


def command(ready: machine.Ready, database: pathlib.Path, *, all_rules: bool = False) -> list[str]:
    """Write a configuration beside a database that is to be made; return the backfill that goes there."""
    detection = '[detection]\nenable = ["*"]\n\n' if all_rules else ""
    config = database.with_suffix(".toml")
    config.write_text(
        f'[database]\nurl = "sqlite:///{database}"\n\n{detection}'
        f'[[orgs]]\nname = "{reading.ORG}"\nurl = "{ready.url}"\ntoken = "any-will-do"\n'
    )
    window = ["--since", ready.since, "--until", ready.until]
    return [sys.executable, "-m", "oktawatch", "backfill", *window, "--config", str(config), "--json"]


def counted(database: pathlib.Path, rows: str) -> int:
    """Return the number of rows of a table, or of that part of it which a condition after its name leaves."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        (count,) = connection.execute(f"SELECT count(*) FROM {rows}").fetchone()
    return int(count)


def main() -> None:
    """Run the backfill; print the seconds that it says it took, and what is in the database."""
    parser = reading.arguments()
    parser.add_argument("--all-rules", action="store_true")
    given = parser.parse_args()
    database = pathlib.Path(given.database)
    arguments = command(machine.Ready(**json.loads(given.ready)), database, all_rules=given.all_rules)
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"oktawatch backfill ended with {done.returncode}")
    seconds = json.loads(done.stdout)["seconds"]
    matches = counted(database, f"matches WHERE rule_id = '{DEFAULT_RULE}'")
    reading.report(reading.Measured(counted(database, "events"), matches, seconds))


if __name__ == "__main__":
    main()
