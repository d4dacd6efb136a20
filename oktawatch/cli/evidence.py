"""``oktawatch evidence``: list the sources of evidence about addresses."""

from typing import Any

import typer

from oktawatch.cli.exits import DONE, FAILED
from oktawatch.cli.options import ConfigFile, Debug, Json
from oktawatch.cli.output import note, print_json, print_table
from oktawatch.cli.setup import load_without_secrets

app = typer.Typer(
    name="evidence",
    help="List the sources of evidence about addresses.",
    epilog="Example:  oktawatch evidence list",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    """Make `list` a subcommand. Typer would otherwise merge a single subcommand into its group."""


@app.command(name="list", epilog="Example:  oktawatch evidence list --json")
def list_(config: ConfigFile = None, as_json: Json = False, debug: Debug = False) -> int:
    """List the configured files of networks and databases, with their size and age.

    Exit 1 if one of them can't be used.
    """
    from oktawatch.engine.evidence_files import inspect_file
    from oktawatch.model.timestamps import to_text
    from oktawatch.service.app import Application

    settings = load_without_secrets(config, debug=debug)
    rows: list[dict[str, Any]] = [
        {
            "name": state.file.name,
            "path": str(state.file.path),
            "format": state.file.format,
            "kind": state.file.kind if state.file.format == "networks" else None,
            "operator": state.file.operator,
            "contents": state.contents,
            "modified_at": to_text(state.modified_at) if state.modified_at else None,
            "problem": state.problem,
        }
        for state in map(inspect_file, Application(settings).evidence_files)
    ]
    if as_json:
        print_json(rows)
    else:
        columns = ("name", "kind", "operator", "contents", "modified_at")
        print_table(
            ("NAME", "KIND", "OPERATOR", "CONTENTS", "MODIFIED"),
            [[row[column] or "" for column in columns] for row in rows],
            whole=("NAME",),
        )
        for row in rows:
            if row["problem"]:
                note(f"error: {row['name']}: {row['problem']}")
    return FAILED if any(row["problem"] for row in rows) else DONE
