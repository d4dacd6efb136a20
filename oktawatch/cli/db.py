"""``oktawatch db``: upgrade, check, back up, prune and copy the database."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oktawatch.cli.exits import DONE, FAILED, UsageError
from oktawatch.cli.options import ConfigFile, Debug, Json
from oktawatch.cli.output import print_json, print_table
from oktawatch.cli.setup import database_of_any_schema, load_without_secrets

if TYPE_CHECKING:
    from collections import Counter

    from oktawatch.config import Settings
    from oktawatch.engine.pruning import Pruner

app = typer.Typer(
    name="db", help="Maintain the database.", epilog="Example:  oktawatch db upgrade", no_args_is_help=True
)


@app.command(epilog="Example:  oktawatch db upgrade --config /etc/oktawatch/oktawatch.toml")
def upgrade(config: ConfigFile = None, as_json: Json = False, debug: Debug = False) -> int:
    """Upgrade the schema to the version that this program needs. Create a missing SQLite file.

    It is safe to run this while other processes run. A current schema is not changed.
    """
    from oktawatch.service.app import Application
    from oktawatch.service.database import open_database
    from oktawatch.store import schema

    executor = open_database(Application(load_without_secrets(config, debug=debug)))
    try:
        schema.upgrade(executor.database)
        _print(schema.current(executor.database), as_json=as_json)
    finally:
        executor.close()
    return DONE


@app.command(epilog="Example:  oktawatch db current")
def current(config: ConfigFile = None, as_json: Json = False, debug: Debug = False) -> int:
    """Print the schema's revision. Exit 1 if this program needs a different revision."""
    from oktawatch.store import schema

    with database_of_any_schema(load_without_secrets(config, debug=debug)) as database:
        _print(schema.current(database), as_json=as_json)
        schema.require_current(database)
    return DONE


@app.command(epilog="Example:  oktawatch db prune --dry-run")
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the rows without deleting them.")] = False,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Delete expired rows, as the daemon does every hour.

    Rows expire by `[retention]`. The age of an alert is the age of its last event, regardless of its status. It is safe to run this
    while other processes run. After an interruption, the next run continues.
    """
    import asyncio

    from oktawatch.service.app import Application
    from oktawatch.service.database import open_database
    from oktawatch.service.pruning import build_pruner
    from oktawatch.store.pruning import PRUNED
    from oktawatch.store.schema import require_current

    app = Application(load_without_secrets(config, debug=debug))
    app.require_usable_rules()
    executor = open_database(app, create=False)
    try:
        require_current(executor.database)
        pruner = build_pruner(app, executor)
        expired = asyncio.run(pruner.count())
        deleted = expired if dry_run else _prune(pruner, expired.total())
    finally:
        executor.close()
    rows = {table: deleted[table] for table in PRUNED}
    if as_json:
        print_json({"dry_run": dry_run, "rows": rows})
    else:
        column = "WOULD BE DELETED" if dry_run else "DELETED"
        print_table(("TABLE", column), rows.items(), numbers=(column,))
    return DONE


def _prune(pruner: "Pruner", expired: int) -> "Counter[str]":
    import asyncio

    from oktawatch.cli.progress import steps

    with steps("deleting", unit="rows") as show:
        return asyncio.run(pruner.round(progress=lambda deleted: show(deleted, max(deleted, expired))))


@app.command(epilog="Example:  oktawatch db check")
def check(config: ConfigFile = None, as_json: Json = False, debug: Debug = False) -> int:
    """Check the file, the schema and the references.

    Exit 1 if a check fails; otherwise, also count the rows. A large file takes minutes. Nothing is changed. It is safe to run this while
    other processes run.
    """
    from oktawatch.cli.progress import working
    from oktawatch.service.app import Application
    from oktawatch.service.database import open_database
    from oktawatch.store.integrity import count_rows, inspect

    executor = open_database(Application(load_without_secrets(config, debug=debug)), create=False)
    try:
        with working("checking") as show:
            findings = inspect(executor.database, about_to=show)
        ok = all(finding.ok for finding in findings)
        rows = count_rows(executor.database) if ok else {}
    finally:
        executor.close()
    if as_json:
        found = [
            {"about": finding.about, "ok": finding.ok, "message": finding.message} for finding in findings
        ]
        print_json({"ok": ok, "findings": found, "rows": rows})
        return DONE if ok else FAILED
    verdicts = {True: "ok", False: "failed"}
    print_table(
        ("VERDICT", "ABOUT", "MESSAGE"),
        [(verdicts[finding.ok], finding.about, finding.message) for finding in findings],
    )
    if rows:
        print()
        print_table(("TABLE", "ROWS"), list(rows.items()), numbers=("ROWS",))
    return DONE if ok else FAILED


@app.command(epilog="Example:  oktawatch db backup /var/backups/oktawatch-$(date +%F).db")
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write. It must not exist.")],
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Back up the SQLite file while it is used.

    FILE is a consistent and checked copy. To restore it, stop oktawatch, move away the old file and those that end with -wal and
    -shm, and put the copy in its place. See docs/backup.md.
    """
    from oktawatch.cli.progress import steps
    from oktawatch.service.app import Application
    from oktawatch.service.database import open_database
    from oktawatch.store.backup import backup as back_up

    executor = open_database(Application(load_without_secrets(config, debug=debug)), create=False)
    try:
        if executor.database.shared:
            raise UsageError(
                "not an SQLite file (db backup): for Postgres, run "
                f"'pg_dump --format=custom --file={file} --dbname={executor.database.url.database}' with the server's --host and --username"
            )
        with steps("copying", unit="pages") as show:
            size = back_up(executor.database, file, progress=show)
    except FileExistsError:
        raise UsageError(f"the file exists (db backup {file}): use another name, or move it away") from None
    finally:
        executor.close()
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        print(f"{file}: {size:,} bytes, checked")
    return DONE


@app.command(
    epilog="Example:  oktawatch db copy --to postgresql+psycopg://oktawatch@db.example.com/oktawatch"
)
def copy(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URL",
            help="The Postgres database. Put the password into PGPASSWORD or ~/.pgpass.",
        ),
    ],
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Copy all rows from SQLite to Postgres.

    Copies from the configured file. Stop `run` first. After an interruption, the same command resumes. At the end, the numbers of rows in
    both databases are compared. Then set database.url to the Postgres database.
    """
    from oktawatch.config.validators import check_server

    try:
        check_server(to)
    except ValueError as error:
        raise UsageError(f"wrong value (--to): {error}") from None
    counts = _copy(load_without_secrets(config, debug=debug), to)
    if as_json:
        print_json(counts)
    else:
        print_table(("TABLE", "ROWS"), list(counts.items()), numbers=("ROWS",))
    return DONE


def _copy(settings: "Settings", to: str) -> dict[str, int]:
    """Copy the rows. Return their number by table."""
    from oktawatch.cli.progress import steps
    from oktawatch.service.app import Application
    from oktawatch.service.database import open_database
    from oktawatch.service.file_lock import exclusive_lock
    from oktawatch.store.copy import copy as copy_database
    from oktawatch.store.database import Database
    from oktawatch.store.integrity import count_rows

    executor = open_database(Application(settings), create=False)
    try:
        if executor.database.shared:
            raise UsageError(
                "wrong direction (db copy): database.url must be an SQLite file and --to a Postgres database"
            )
        server = Database(to)
        try:
            with exclusive_lock(executor.database.file):
                events = count_rows(executor.database)["events"]
                with steps("copying", unit="events") as show:
                    return copy_database(
                        executor.database, server, progress=lambda _table, rows: show(rows, events)
                    )
        finally:
            server.close()
    finally:
        executor.close()


def _print(revision: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"revision": revision})
    else:
        print(revision or "no schema")
