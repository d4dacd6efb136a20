"""``oktawatch db``: the database's schema, what is kept in it, and the way to a server."""

import asyncio
from typing import Annotated

import typer

from oktawatch.cli.exits import DONE, UsageError
from oktawatch.cli.options import ConfigFile, Debug, Json
from oktawatch.cli.output import note, print_json, print_table
from oktawatch.cli.setup import load_without_secrets

app = typer.Typer(
    name="db", help="Look after the database.", epilog="Example:  oktawatch db upgrade", no_args_is_help=True
)


@app.command(epilog="Example:  oktawatch db upgrade --config /etc/oktawatch/oktawatch.toml")
def upgrade(config: ConfigFile = None, as_json: Json = False, debug: Debug = False) -> int:
    """Bring the schema up to what this program needs; make the SQLite file if there is none.

    Safe beside running processes, and when there is nothing to do.
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
    """Print the schema's revision. Exit 1 when it is not the one that this program needs."""
    from oktawatch.store import schema
    from oktawatch.store.database import Database

    settings = load_without_secrets(config, debug=debug)
    database = Database(settings.database.url.get_secret_value())
    try:
        _print(schema.current(database), as_json=as_json)
        schema.require_current(database)
    finally:
        database.close()
    return DONE


@app.command(epilog="Example:  oktawatch db prune --dry-run")
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing, say what would be.")] = False,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Delete what is older than `[retention]` says, as the daemon does every hour.

    Alerts go by their last event, whatever their status. Safe beside running processes; interrupted,
    the next time goes on.
    """
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
        deleted = asyncio.run(pruner.count() if dry_run else pruner.round())
    finally:
        executor.close()
    rows = {table: deleted[table] for table in PRUNED}
    if as_json:
        print_json({"dry_run": dry_run, "rows": rows})
    else:
        column = "WOULD BE DELETED" if dry_run else "DELETED"
        print_table(("TABLE", column), rows.items(), numbers=(column,))
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
            help="The Postgres database; a password is better in PGPASSWORD or ~/.pgpass.",
        ),
    ],
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Copy everything from the configured SQLite file to a Postgres database.

    Stop `run` first. Interrupted, the same command goes on where it stopped; at the end the rows of both
    are counted. Afterwards set database.url.
    """
    from oktawatch.config.validators import check_server
    from oktawatch.service.app import Application
    from oktawatch.service.database import open_database
    from oktawatch.service.file_lock import exclusive_lock
    from oktawatch.store.copy import copy as copy_database
    from oktawatch.store.database import Database

    settings = load_without_secrets(config, debug=debug)
    try:
        check_server(to)
    except ValueError as error:
        raise UsageError(f"wrong value (--to): {error}") from None
    executor = open_database(Application(settings), create=False)
    try:
        if executor.database.shared:
            raise UsageError(
                "wrong direction (db copy): from an SQLite file, database.url, to Postgres, --to"
            )
        server = Database(to)
        try:
            with exclusive_lock(executor):
                counts = copy_database(
                    executor.database, server, progress=lambda table, rows: note(f"{table}: {rows:,} rows")
                )
        finally:
            server.close()
    finally:
        executor.close()
    if as_json:
        print_json(counts)
    else:
        print_table(("TABLE", "ROWS"), list(counts.items()), numbers=("ROWS",))
    return DONE


def _print(revision: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"revision": revision})
    else:
        print(revision or "no schema")
