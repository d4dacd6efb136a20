"""``oktawatch notifications``: the outbox, and what people decide about what is stuck in it."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from oktawatch.cli.exits import DONE
from oktawatch.cli.options import ConfigFile, Debug, Json
from oktawatch.cli.output import note, print_json, print_list, print_table
from oktawatch.cli.setup import existing_database, load_without_secrets

if TYPE_CHECKING:
    from oktawatch.store.database import Database

app = typer.Typer(
    name="notifications",
    help="Look at what waits to be sent or could not be, and decide about it.",
    epilog="Example:  oktawatch notifications list --state dead",
    no_args_is_help=True,
)

_Ids = Annotated[list[str], typer.Argument(metavar="ID…", help="The notifications' ids.")]


@app.command(name="list", epilog="Example:  oktawatch notifications list --notifier soc --state dead")
def list_(
    state: Annotated[
        Literal["pending", "sent", "digested", "dropped", "dead"] | None,
        typer.Option(help="Only notifications that stand so. Default: pending and dead ones."),
    ] = None,
    notifier: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only notifications for this notifier.")
    ] = None,
    org: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only alerts of this org, and digests with one of them."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=2**63 - 1, metavar="N", help="At most so many.")] = 100,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """List notifications, dead letters first, then the latest.

    A pending one is tried again at its next attempt. A dead letter was refused for good or grew too old.
    """
    from oktawatch.model.notification import NotificationState
    from oktawatch.store.outbox_admin import NotificationFilter, count_notifications, list_notifications

    wanted = NotificationFilter(
        state=NotificationState(state) if state is not None else None, notifier=notifier, org=org
    )
    with existing_database(load_without_secrets(config, debug=debug)) as database:
        found = list_notifications(database, wanted, limit=limit)
        count = count_notifications(database, wanted) if len(found) == limit else len(found)
    print_list(found, "notifications", count=count, as_json=as_json, draw=_print)
    return DONE


@app.command(epilog="Example:  oktawatch notifications retry 3f0c9a54-6f0e-5a51-9d5e-0c1f9a3b7e21")
def retry(ids: _Ids, config: ConfigFile = None, as_json: Json = False, debug: Debug = False) -> int:
    """Send pending and dead notifications again, now. All of them, or none if one can't be.

    The daemon takes them up within seconds, unless their receiver has asked it to wait. Their receiver sees
    the same key as before, and their age (max_age) counts from now.
    """
    from oktawatch.store import outbox_admin

    settings = load_without_secrets(config, debug=debug)
    with existing_database(settings) as database:
        outbox_admin.retry(database, ids, now=database.now())
        wanted = {notification["notifier"] for notification in outbox_admin.show_notifications(database, ids)}
        for name in sorted(wanted - {notifier.name for notifier in settings.notifiers}):
            note(
                f"warning: no notifier is named {name} in this configuration: nobody will send what is for it"
            )
        return _tell(database, ids, "pending", as_json=as_json)


@app.command(epilog="Example:  oktawatch notifications drop 3f0c9a54-6f0e-5a51-9d5e-0c1f9a3b7e21")
def drop(ids: _Ids, config: ConfigFile = None, as_json: Json = False, debug: Debug = False) -> int:
    """Let pending and dead notifications be: they are not sent. All of them, or none if one can't be.

    Their alerts stay as they are. One that the daemon is sending at this moment may arrive, and counts as sent.
    """
    from oktawatch.store import outbox_admin

    with existing_database(load_without_secrets(config, debug=debug)) as database:
        outbox_admin.drop(database, ids)
        return _tell(database, ids, "dropped", as_json=as_json)


def _tell(database: "Database", ids: list[str], state: str, *, as_json: bool) -> int:
    from oktawatch.store.outbox_admin import show_notifications

    if as_json:
        print_json(show_notifications(database, ids))
    else:
        note(f"{state}: {', '.join(dict.fromkeys(ids))}")
    return DONE


def _print(notifications: list[dict[str, Any]]) -> None:
    columns = {
        "ID": "id",
        "STATE": "state",
        "NOTIFIER": "notifier",
        "KIND": "kind",
        "ORG": "org",
        "ALERT": "alert_id",
        "CREATED": "created_at",
        "ATTEMPTS": "attempts",
        "NEXT ATTEMPT": "next_attempt_at",
        "LAST ERROR": "last_error",
    }
    rows = [[notification[name] for name in columns.values()] for notification in notifications]
    print_table(tuple(columns), rows, numbers=("ALERT", "ATTEMPTS"))
