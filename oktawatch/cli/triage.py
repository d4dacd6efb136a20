"""``oktawatch alerts ack``, ``close`` and ``reopen``: what people decide about alerts."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from oktawatch.cli.exits import DONE
from oktawatch.cli.options import ConfigFile, Debug, Json
from oktawatch.cli.output import note as say
from oktawatch.cli.output import print_json
from oktawatch.cli.setup import existing_database, load_without_secrets

if TYPE_CHECKING:
    from oktawatch.store.database import Database

_Ids = Annotated[list[int], typer.Argument(metavar="ID…", min=0, max=2**63 - 1, help="The alerts' ids.")]


def ack(ids: _Ids, config: ConfigFile = None, as_json: Json = False, debug: Debug = False) -> int:
    """Acknowledge alerts: somebody looks into them. All of them, or none if one can't be."""
    from oktawatch.model.timestamps import utc_now
    from oktawatch.store.triage import acknowledge

    with existing_database(load_without_secrets(config, debug=debug)) as database:
        acknowledge(database, ids, now=utc_now())
        return _tell(database, ids, "acknowledged", as_json=as_json)


def close(
    ids: _Ids,
    disposition: Annotated[
        Literal["true_positive", "false_positive", "benign"] | None,
        typer.Option("--as", help="What they turned out to be."),
    ] = None,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for whoever comes after.")] = None,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Close alerts. A later match opens another alert. All of them, or none if one can't be."""
    from oktawatch.model.timestamps import utc_now
    from oktawatch.store import triage

    with existing_database(load_without_secrets(config, debug=debug)) as database:
        triage.close(database, ids, by=_who(), disposition=disposition, note=note, now=utc_now())
        return _tell(database, ids, "closed", as_json=as_json)


def reopen(ids: _Ids, config: ConfigFile = None, as_json: Json = False, debug: Debug = False) -> int:
    """Open closed alerts again. All of them, or none if one can't be."""
    from oktawatch.model.timestamps import utc_now
    from oktawatch.store import triage

    with existing_database(load_without_secrets(config, debug=debug)) as database:
        triage.reopen(database, ids, now=utc_now())
        return _tell(database, ids, "open", as_json=as_json)


def _who() -> str:
    import getpass
    import os

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user can have a number and no name
        return str(os.getuid())


def _tell(database: "Database", ids: list[int], status: str, *, as_json: bool) -> int:
    from oktawatch.store.alerts import show_alert

    told = list(dict.fromkeys(ids))
    if as_json:
        print_json([show_alert(database, alert_id) for alert_id in told])
    else:
        say(f"{status}: {', '.join(map(str, told))}")
    return DONE
