"""``oktawatch alerts ack``, ``close``, ``reopen`` and ``note``: record decisions about alerts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from oktawatch.cli.exits import DONE, UsageError
from oktawatch.cli.options import ConfigFile, Debug, Json
from oktawatch.cli.output import note as print_note
from oktawatch.cli.output import print_json
from oktawatch.cli.setup import existing_database, load_without_secrets

if TYPE_CHECKING:
    from oktawatch.store.triage import Decision

_Ids = Annotated[list[int], typer.Argument(metavar="ID…", min=0, max=2**63 - 1, help="The alerts' ids.")]
_Note = Annotated[str | None, typer.Option(metavar="TEXT", help="The reason, for other people.")]
_By = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The person who decides. Default: $SUDO_USER, else the current user.",
        show_default=False,
    ),
]


def ack(
    ids: _Ids,
    note: _Note = None,
    by: _By = None,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Acknowledge alerts: someone is investigating them. Changes all alerts, or none if any can't be changed."""
    from oktawatch.store.triage import Action, Decision

    decision = Decision(action=Action.ACKNOWLEDGED, by=_name(by), note=_note(note))
    return _decide(ids, decision, "acknowledged", config, as_json=as_json, debug=debug)


def close(
    ids: _Ids,
    disposition: Annotated[
        Literal["true_positive", "false_positive", "benign"] | None,
        typer.Option("--as", help="The verdict. On a closed alert, this changes the verdict."),
    ] = None,
    note: _Note = None,
    by: _By = None,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Close alerts. A later match opens a new alert. Changes all alerts, or none if any can't be changed."""
    from oktawatch.store.triage import Action, Decision

    decision = Decision(action=Action.CLOSED, by=_name(by), disposition=disposition, note=_note(note))
    return _decide(ids, decision, "closed", config, as_json=as_json, debug=debug)


def reopen(
    ids: _Ids,
    note: _Note = None,
    by: _By = None,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Reopen closed alerts. Changes all alerts, or none if any can't be changed."""
    from oktawatch.store.triage import Action, Decision

    decision = Decision(action=Action.REOPENED, by=_name(by), note=_note(note))
    return _decide(ids, decision, "open", config, as_json=as_json, debug=debug)


def note(
    alert_id: Annotated[int, typer.Argument(metavar="ID", min=0, max=2**63 - 1, help="The alert's id.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The note.")],
    by: _By = None,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Add a note to an alert, whatever its status."""
    from oktawatch.store.triage import Action, Decision

    decision = Decision(action=Action.NOTED, by=_name(by), note=_text(text, "TEXT"))
    return _decide([alert_id], decision, "noted", config, as_json=as_json, debug=debug)


def _decide(
    ids: list[int], decision: "Decision", result: str, config: Path | None, *, as_json: bool, debug: bool
) -> int:
    from oktawatch.engine.triage import decide_and_notify
    from oktawatch.service.app import Application
    from oktawatch.store.alerts import show_alert

    settings = load_without_secrets(config, debug=debug)
    app = Application(settings)
    with existing_database(settings) as database:
        decide_and_notify(database, ids, decision, routes=app.routes, tags=app.org_tags, now=database.now())
        decided = list(dict.fromkeys(ids))
        if as_json:
            print_json([show_alert(database, alert_id) for alert_id in decided])
        else:
            print_note(f"{result}: {', '.join(map(str, decided))}")
    return DONE


def _note(text: str | None) -> str | None:
    return _text(text, "--note") if text is not None else None


def _name(by: str | None) -> str:
    return _text(by, "--by") if by is not None else _user()


def _text(text: str, option: str) -> str:
    """Return the text. Raise UsageError if it is blank, for example from an unset variable of a script."""
    if not text.strip():
        raise UsageError(f"the text is empty ({option}): write at least one word")
    return text


def _user() -> str:
    import getpass
    import os

    if name := os.environ.get("SUDO_USER"):
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user can have a number and no name
        return str(os.getuid())
