"""``oktawatch explain``: why an event was alerted, or was not."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oktawatch.cli.exits import DONE, FAILED, UsageError
from oktawatch.cli.options import ConfigFile, Debug, Json
from oktawatch.cli.output import note, print_fields, print_json
from oktawatch.cli.reading import chosen_orgs
from oktawatch.cli.setup import load_settings

if TYPE_CHECKING:
    from oktawatch.engine.explain import Explanation, Verdict


def explain(
    event_uuid: Annotated[str, typer.Argument(metavar="EVENT_UUID", help="The event's uuid.")],
    org: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Look in this org; may be given again. Default: all.", show_default=False
        ),
    ] = None,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Say for one event which rules match it or not, and why, and which alert it is in.

    What the event says is asked of Okta. Exit 1 when nobody knows it.
    """
    from oktawatch.engine.explain import is_uuid
    from oktawatch.service.app import Application
    from oktawatch.service.explaining import explain_event

    if not is_uuid(event_uuid):
        raise UsageError("wrong value (EVENT_UUID): expected a uuid, as events and alerts show it")
    settings = load_settings(config, debug=debug)
    app = Application(settings, orgs=chosen_orgs(settings, org or []))
    found = asyncio.run(explain_event(app, event_uuid))
    if found is None:
        note(f"error: no such event ({event_uuid}): Okta keeps 90 days; look whether the uuid is whole")
        return FAILED
    if as_json:
        print_json(_document(found))
        return DONE
    _print(found)
    return DONE


def _print(found: "Explanation") -> None:
    from oktawatch.logs import printable

    named = {name: value for name, value in found.event.items() if value is not None}
    print_fields([("org", found.org), *({"uuid": found.event_uuid} | named).items()])
    if found.trouble is not None:
        note(f"Okta could not be asked: {found.trouble}")
    if found.source == "history":
        note("what follows is judged by what history remembers of the event")
    # What matches is what somebody asks about.
    for verdict in sorted(found.verdicts, key=lambda one: not one.matches):
        print()
        for line in _lines(verdict):
            print(printable(line))


def _lines(verdict: "Verdict") -> Iterator[str]:
    """Say what a rule says, then each condition up to the one that fails, or all of those that hold."""
    yield f"{verdict.rule_id}{'' if verdict.enabled else ' (off)'}: {', '.join(_said(verdict))}"
    for condition in verdict.conditions:
        yield f"  {'so' if condition.holds else 'not so'}: {condition.text.removesuffix('.')}"


def _said(verdict: "Verdict") -> Iterator[str]:
    yield {None: "nothing is known of what the event says", True: "matches", False: "does not match"}[
        verdict.matches
    ]
    if verdict.alert_id is not None:
        yield f"in alert {verdict.alert_id} ({verdict.alert_status})"
    elif verdict.recorded:
        yield "recorded as a signal"
    elif verdict.matches:
        yield "not recorded"


def _document(found: "Explanation") -> dict[str, Any]:
    from oktawatch.model.timestamps import to_text

    return {
        "org": found.org,
        "event_uuid": found.event_uuid,
        "published": to_text(found.published),
        "source": found.source,
        "trouble": found.trouble,
        "event": found.event,
        "rules": [
            {
                "rule": verdict.rule_id,
                "enabled": verdict.enabled,
                "matches": verdict.matches,
                "recorded": verdict.recorded,
                "alert_id": verdict.alert_id,
                "alert_status": verdict.alert_status,
                "alert_title": verdict.alert_title,
                "conditions": [
                    {"text": condition.text, "holds": condition.holds} for condition in verdict.conditions
                ],
            }
            for verdict in found.verdicts
        ],
    }
