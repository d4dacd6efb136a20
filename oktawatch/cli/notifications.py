"""``oktawatch notifications``: list the outbox, and retry or drop notifications."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from oktawatch.cli.exits import DONE
from oktawatch.cli.notification_table import print_notifications
from oktawatch.cli.options import ConfigFile, Debug, Json
from oktawatch.cli.output import note, print_json, print_list
from oktawatch.cli.setup import existing_database, load_without_secrets

if TYPE_CHECKING:
    from oktawatch.store.database import Database

app = typer.Typer(
    name="notifications",
    help="List, retry and drop notifications.",
    epilog="Example:  oktawatch notifications list --state dead",
    no_args_is_help=True,
)

_Ids = Annotated[
    list[str],
    typer.Argument(metavar="ID…", help="Ids of notifications, or unique prefixes of at least 8 characters."),
]


@app.command(name="list", epilog="Example:  oktawatch notifications list --notifier soc --state dead")
def list_(
    state: Annotated[
        Literal["pending", "sent", "digested", "dropped", "dead"] | None,
        typer.Option(help="Filter by state. Default: pending and dead notifications."),
    ] = None,
    notifier: Annotated[str | None, typer.Option(metavar="NAME", help="Filter by notifier.")] = None,
    org: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Filter by the org of the alert, or of an alert in the digest."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=2**63 - 1, metavar="N", help="Show at most N.")] = 100,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """List notifications, one line each.

    Dead letters come first, then the latest notifications. A pending notification is sent at its next attempt. A
    dead letter was refused or is older than max_age.
    """
    from oktawatch.model.notification import NotificationState
    from oktawatch.store.outbox_admin import NotificationFilter, count_notifications, list_notifications
    from oktawatch.store.short_ids import short_ids

    wanted = NotificationFilter(
        state=NotificationState(state) if state is not None else None, notifier=notifier, org=org
    )
    with existing_database(load_without_secrets(config, debug=debug)) as database:
        found = list_notifications(database, wanted, limit=limit)
        count = count_notifications(database, wanted) if len(found) == limit else len(found)
        short = short_ids(database, [notification["id"] for notification in found])
    draw = partial(print_notifications, short_ids=short)
    print_list(found, "notifications", count=count, as_json=as_json, draw=draw)
    return DONE


@app.command(epilog="Example:  oktawatch notifications retry 3f0c9a54")
def retry(ids: _Ids, config: ConfigFile = None, as_json: Json = False, debug: Debug = False) -> int:
    """Retry pending and dead notifications now. Retries all of them, or none if any can't be retried.

    The daemon sends them within seconds, unless the receiver has asked for a delay. The receiver gets the same
    idempotency key as before, and max_age counts from now.
    """
    from oktawatch.store import outbox_admin
    from oktawatch.store.short_ids import find_ids

    settings = load_without_secrets(config, debug=debug)
    with existing_database(settings) as database:
        ids = find_ids(database, ids)
        outbox_admin.retry(database, ids, now=database.now())
        wanted = {notification["notifier"] for notification in outbox_admin.show_notifications(database, ids)}
        for name in sorted(wanted - {notifier.name for notifier in settings.notifiers}):
            note(
                f"warning: no notifier is named {name} in this configuration: its notifications will not be sent"
            )
        return _report(database, ids, "pending", as_json=as_json)


@app.command(epilog="Example:  oktawatch notifications drop 3f0c9a54")
def drop(ids: _Ids, config: ConfigFile = None, as_json: Json = False, debug: Debug = False) -> int:
    """Drop pending and dead notifications. Drops all of them, or none if any can't be dropped.

    Alerts don't change. A notification that the daemon is sending right now may still arrive, and is then marked as sent.
    """
    from oktawatch.store import outbox_admin
    from oktawatch.store.short_ids import find_ids

    with existing_database(load_without_secrets(config, debug=debug)) as database:
        ids = find_ids(database, ids)
        outbox_admin.drop(database, ids)
        return _report(database, ids, "dropped", as_json=as_json)


def _report(database: "Database", ids: list[str], state: str, *, as_json: bool) -> int:
    from oktawatch.store.outbox_admin import show_notifications

    if as_json:
        print_json(show_notifications(database, ids))
    else:
        note(f"{state}: {', '.join(ids)}")
    return DONE
