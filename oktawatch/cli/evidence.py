"""``oktawatch evidence``: list and update the sources of evidence about addresses."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from oktawatch.cli.evidence_table import print_sources, source_rows
from oktawatch.cli.exits import DONE, FAILED, UsageError
from oktawatch.cli.options import ConfigFile, Debug, Json
from oktawatch.cli.output import note, print_json, print_table
from oktawatch.cli.setup import load_for_downloads, load_without_secrets

if TYPE_CHECKING:
    from oktawatch.engine.evidence_sources import EvidenceSources
    from oktawatch.engine.evidence_updates import FetchedEvidence

app = typer.Typer(
    name="evidence",
    help="List and update the sources of evidence about addresses.",
    epilog="Example:  oktawatch evidence list",
    no_args_is_help=True,
)


@app.command(name="list", epilog="Example:  oktawatch evidence list --json")
def list_(config: ConfigFile = None, as_json: Json = False, debug: Debug = False) -> int:
    """List the sources, with their size and age.

    The age of a source with a URL is the time since it was last fetched or found unchanged. Exit 1 if a
    source is missing or stale, or failed to update.
    """
    from oktawatch.model.timestamps import utc_now
    from oktawatch.service.app import Application

    settings = load_without_secrets(config, debug=debug)
    now = utc_now()
    rows = source_rows(Application(settings).evidence_sources.inspect(now), now)
    if as_json:
        print_json(rows)
    elif rows:
        print_sources(rows)
    else:
        note("no sources: [[evidence.sources]] adds one")
    return DONE if all(row["state"] == "ok" for row in rows) else FAILED


@app.command(epilog="Example:  oktawatch evidence update tor apple")
def update(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME", help="The sources to fetch. Default: all with a URL.", show_default=False
        ),
    ] = None,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Fetch sources that have a URL, whether they are due or not.

    A file that can't be used, is empty or has shrunk by more than half is refused, and the current one stays
    in use. A running daemon uses a new file within a minute. Exit 1 if a source can't be updated.
    """
    import asyncio

    from oktawatch.service.app import Application
    from oktawatch.service.evidence import update_once

    sources = Application(load_for_downloads(config, debug=debug)).evidence_sources
    outcomes = asyncio.run(update_once(_chosen(sources, names or [])))
    contents = {source.name: source.state().contents for source in sources.fetched}
    rows: list[dict[str, Any]] = [
        {
            "name": outcome.name,
            "result": "failed" if outcome.problem else "updated" if outcome.changed else "unchanged",
            "contents": contents[outcome.name],
            "problem": outcome.problem,
        }
        for outcome in outcomes
    ]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(
            ("SOURCE", "RESULT", "CONTENTS"),
            [(row["name"], row["result"], row["contents"]) for row in rows],
            whole=("SOURCE",),
        )
        for row in rows:
            if row["problem"]:
                note(f"error: {row['name']}: {row['problem']}")
    else:
        note("no sources with a URL: nothing to fetch")
    return FAILED if any(row["problem"] for row in rows) else DONE


def _chosen(sources: "EvidenceSources", names: list[str]) -> "list[FetchedEvidence]":
    """Return the sources to fetch. Raise UsageError for an unknown source and for a source without a URL."""
    by_name = {source.name: source for source in sources.fetched}
    for name in names:
        if name in sources.names and name not in by_name:
            raise UsageError(f"nothing to fetch ({name}): this source has a path, not a URL")
        if name not in by_name:
            raise UsageError(f"no such source ({name}): there are: {', '.join(by_name) or 'none with a URL'}")
    return [by_name[name] for name in dict.fromkeys(names)] if names else list(by_name.values())
