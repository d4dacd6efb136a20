"""``oktawatch status``: show the status of the orgs, the daemon, the database and the sources of evidence."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from oktawatch.cli.evidence_table import print_sources, source_rows
from oktawatch.cli.exits import DONE, FAILED
from oktawatch.cli.machine_status import daemon_json, print_machine
from oktawatch.cli.one_line_table import Column, print_one_line_table
from oktawatch.cli.options import ConfigFile, Debug, Json
from oktawatch.cli.output import note, print_json
from oktawatch.cli.setup import existing_database, load_for_reading, start_logging

if TYPE_CHECKING:
    from oktawatch.config import Settings
    from oktawatch.engine.health import OrgHealth
    from oktawatch.model.left_out import LeftOutRule
    from oktawatch.store.database import Database
    from oktawatch.store.status import OrgStatus


_LEFT_OUT_SHOWN_FOR = timedelta(days=1)
"""How long `status` reports that a rule was skipped for a page of the System Log."""


def status(config: ConfigFile = None, as_json: Json = False, debug: Debug = False) -> int:
    """Show the status of orgs, daemon, database and evidence.

    Exit 1 if a configured org is failing, behind or unusable, or if daemons are listed and all are silent.

    Failing: its last poll failed. Behind: no poll has caught up for three intervals and a minute. Unusable: over a
    tenth of its recently polled events, at least three, can't be used. Silent: the daemon has not written to the
    database for 90 seconds. A daemon that stopped, or has been silent for a day, is not listed.
    """
    from oktawatch.engine.daemon_health import are_good, judge_daemons
    from oktawatch.store.daemons import read_daemons
    from oktawatch.store.left_out import left_out_since
    from oktawatch.store.space import read_space
    from oktawatch.store.status import count_undone

    settings = load_for_reading(config, debug=debug)
    with existing_database(settings) as database:
        orgs, shared, now = _orgs(settings, database), database.shared, database.now()
        undone = count_undone(database)
        left_out = [_left_out(rule) for rule in left_out_since(database, now - _LEFT_OUT_SHOWN_FOR)]
        daemons = judge_daemons(read_daemons(database), now=now)
        space, place = read_space(database), database.place
    sources = _evidence(settings, debug=debug) if settings.evidence.sources else []
    good = all(org["ok"] for org in orgs if org["configured"]) and are_good(daemons)
    if as_json:
        print_json(
            {
                "ok": good,
                "orgs": orgs,
                "daemons": [daemon_json(daemon) for daemon in daemons],
                "database": {"place": place, "bytes": space.used, "free_bytes": space.free},
                "notifications": undone,
                "rules_left_out": left_out,
                "evidence": sources,
            }
        )
    else:
        _print(orgs, shared=shared, now=now)
        print_machine(daemons, place, space, age=lambda at: _age(at, now), now=now)
        if sources:
            print()
            print_sources(sources)
        _print_notes(left_out, dead=undone["dead"])
    return DONE if good else FAILED


def _evidence(settings: "Settings", *, debug: bool) -> list[dict[str, Any]]:
    """Describe the sources of evidence. Only this part of the status imports the rules, which is slow."""
    from oktawatch.model.timestamps import utc_now
    from oktawatch.service.app import Application

    start_logging(settings, debug=debug)
    return source_rows(Application(settings).evidence_sources.inspect(utc_now()), utc_now())


def _left_out(rule: "LeftOutRule") -> dict[str, Any]:
    from oktawatch.model.timestamps import to_text

    return {
        "org": rule.org,
        "rule": rule.rule_id,
        "event_uuid": rule.event_uuid,
        "reason": rule.reason,
        "at": to_text(rule.at),
    }


def _orgs(settings: "Settings", database: "Database") -> list[dict[str, Any]]:
    from oktawatch.engine.health import judge
    from oktawatch.store.status import org_statuses

    now = database.now()
    known = {row.org: row for row in org_statuses(database)}
    configured = [org.name for org in settings.orgs]
    return [
        _as_json(
            name,
            known.get(name),
            judge(known.get(name), interval=settings.poll.interval, now=now),
            configured=name in configured,
        )
        for name in dict.fromkeys((*configured, *known))
    ]


def _as_json(name: str, row: "OrgStatus | None", health: "OrgHealth", *, configured: bool) -> dict[str, Any]:
    from oktawatch.model.timestamps import to_text

    def moment(key: str) -> str | None:
        value = getattr(row, key, None)
        return to_text(value) if value else None

    return {
        "org": name,
        "ok": health.good,
        "configured": configured,
        "behind": health.behind,
        "failing": health.failing,
        "unusable": health.unusable,
        "problems": list(health.problems),
        "lag_seconds": health.lag.total_seconds() if health.lag is not None else None,
        "last_poll_at": moment("last_poll_at"),
        "last_caught_up_at": moment("last_caught_up_at"),
        "last_published": moment("last_published"),
        "events_seen": row.events_seen if row else 0,
        "events_rejected": row.events_rejected if row else 0,
        "events_late": row.events_late if row else 0,
        "open_alerts": row.open_alerts if row else 0,
        "pending_notifications": row.pending_notifications if row else 0,
        "dead_notifications": row.dead_notifications if row else 0,
        "last_error": row.last_error if row else None,
        "last_error_at": moment("last_error_at"),
        "holder": row.holder if row else None,
    }


def _print(orgs: list[dict[str, Any]], *, shared: bool, now: datetime) -> None:
    from oktawatch.model.timestamps import from_text

    columns = [
        Column(heading="ORG", min_width=16),
        Column(heading="STATE"),
        Column(heading="LAST POLL"),
        Column(heading="LAG", right=True),
        *([Column(heading="HOLDER", min_width=8)] if shared else []),
        Column(heading="ALERTS", right=True),
        Column(heading="EVENTS", right=True),
        Column(heading="LATE", right=True, optional=True),
        Column(heading="REJECTED", right=True, optional=True),
        Column(heading="UNSENT", right=True),
        Column(heading="DEAD", right=True),
    ]
    rows = [
        (
            org["org"],
            _state(org),
            _age(from_text(org["last_poll_at"]) if org["last_poll_at"] else None, now),
            _lag(org["lag_seconds"]),
            *([org["holder"] or "nobody"] if shared else []),
            org["open_alerts"],
            org["events_seen"],
            org["events_late"],
            org["events_rejected"],
            org["pending_notifications"],
            org["dead_notifications"],
        )
        for org in orgs
    ]
    print_one_line_table(columns, rows)
    for org in orgs:
        if org["configured"]:
            for problem in org["problems"]:
                note(f"{org['org']}: {problem}")


def _print_notes(left_out: list[dict[str, Any]], *, dead: int) -> None:
    for rule in left_out:
        note(
            f"{rule['org']}: rule {rule['rule']} was skipped for a page of events at {rule['at']}: {rule['reason']}"
            f" (event {rule['event_uuid']})"
        )
    if dead:
        count = "1 dead letter" if dead == 1 else f"{dead} dead letters"
        note(f"{count}: 'oktawatch notifications list' shows {'it' if dead == 1 else 'them'}")


def _age(moment: datetime | None, now: datetime) -> str:
    """Return how long ago a point in time was, such as ``12s ago``."""
    from oktawatch.model.durations import approximate_text

    if moment is None:
        return "never"
    age = now - moment
    return f"{approximate_text(age)} ago" if age >= timedelta() else "in the future"


def _state(org: dict[str, Any]) -> str:
    if not org["configured"]:
        return "not configured"
    states = [name for name in ("failing", "behind", "unusable") if org[name]]
    return ", ".join(states) or "ok"


def _lag(seconds: float | None) -> str:
    from oktawatch.model.durations import approximate_text

    return "" if seconds is None else approximate_text(timedelta(seconds=int(seconds)))
