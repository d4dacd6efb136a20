"""The contender oktawatch: `oktawatch backfill`, with the default rule or with all rules.

The duration comes from the command's summary. Like that of the other contenders, it is measured from before the first
request to after the last commit. (It agrees within 3 % with the difference between a run over the whole window and a run
over one page.) Events and matches are counted in the database.
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
"""The rule whose matches each contender must find."""


def command(ready: machine.Ready, database: pathlib.Path, *, all_rules: bool = False) -> list[str]:
    """Write a configuration for a new database, and return the backfill command."""
    detection = '[detection]\nenable = ["*"]\n\n' if all_rules else ""
    config = database.with_suffix(".toml")
    config.write_text(
        f'[database]\nurl = "sqlite:///{database}"\n\n{detection}'
        f'[[orgs]]\nname = "{reading.ORG}"\nurl = "{ready.url}"\ntoken = "any-will-do"\n'
    )
    window = ["--since", ready.since, "--until", ready.until]
    return [sys.executable, "-m", "oktawatch", "backfill", *window, "--config", str(config), "--json"]


def counted(database: pathlib.Path, rows: str) -> int:
    """Count the rows of a table. `rows` is its name, optionally with a WHERE clause."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        (count,) = connection.execute(f"SELECT count(*) FROM {rows}").fetchone()
    return int(count)


def main() -> None:
    """Run the backfill, and print its duration and the counts in the database."""
    parser = reading.arguments()
    parser.add_argument("--all-rules", action="store_true")
    given = parser.parse_args()
    database = pathlib.Path(given.database)
    arguments = command(machine.Ready(**json.loads(given.ready)), database, all_rules=given.all_rules)
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"oktawatch backfill exited with {done.returncode}")
    seconds = json.loads(done.stdout)["seconds"]
    matches = counted(database, f"matches WHERE rule_id = '{DEFAULT_RULE}'")
    reading.report(reading.Measured(counted(database, "events"), matches, seconds))


if __name__ == "__main__":
    main()
