"""The options that filter alerts, and parsers for their values.

An unknown org, rule, status or verdict is probably a typo, so the error lists the valid values.
"""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

import typer

from oktawatch.cli.exits import UsageError
from oktawatch.cli.options import WHEN, point_in_time, severity

if TYPE_CHECKING:
    from oktawatch.config import Settings
    from oktawatch.store.alerts import AlertFilter
    from oktawatch.store.database import Database
    from oktawatch.store.networks import Network

_STATUSES = ("open", "acknowledged", "closed", "pending")
_VERDICTS = ("true_positive", "false_positive", "benign")
_AS_NUMBER = re.compile(r"(?:AS)?(\d{1,10})", re.ASCII | re.IGNORECASE).fullmatch

Since = Annotated[
    str | None, typer.Option(metavar="WHEN", help=f"Alerts with an event at or after this time. {WHEN}")
]
Until = Annotated[str | None, typer.Option(metavar="WHEN", help="Alerts with an event before this time.")]
Orgs = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Filter by org.")]
Rules = Annotated[
    list[str] | None, typer.Option(metavar="GLOB", help="Filter by rule id, such as 'Okta.Multiple.*'.")
]
LeastSeverity = Annotated[
    list[str] | None,
    typer.Option(
        "--severity",
        metavar="SEVERITY",
        help="The lowest severity to show: INFO, LOW, MEDIUM, HIGH or CRITICAL.",
    ),
]
Statuses = Annotated[
    list[str] | None,
    typer.Option(
        metavar="|".join(_STATUSES),
        help="Filter by status. Default: all but pending alerts, which are below their threshold.",
    ),
]
Actors = Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Filter by the user's login or id.")]
Networks = Annotated[
    list[str] | None, typer.Option(metavar="ADDRESS|CIDR", help="Filter by the client's address.")
]
Countries = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Filter by country.")]
AsNumbers = Annotated[
    list[str] | None,
    typer.Option("--as", metavar="NUMBER", help="Filter by AS number: 64500 or AS64500."),
]
Verdicts = Annotated[
    list[str] | None,
    typer.Option(metavar="|".join(_VERDICTS), help="Filter closed alerts by verdict."),
]


def parse_filters(
    since: str | None,
    until: str | None,
    least: Sequence[str] | None,
    statuses: Sequence[str] | None,
    actors: Sequence[str] | None,
    networks: Sequence[str] | None,
    countries: Sequence[str] | None,
    as_numbers: Sequence[str] | None,
    verdicts: Sequence[str] | None,
) -> "AlertFilter":
    """Parse the options' values. Raise UsageError for an invalid value."""
    from oktawatch.model.alert import AlertStatus
    from oktawatch.model.timestamps import utc_now
    from oktawatch.store.alerts import AlertFilter

    now = utc_now()
    return AlertFilter(
        since=point_in_time(since, "--since", now=now) if since is not None else None,
        until=point_in_time(until, "--until", now=now) if until is not None else None,
        severity=min(map(severity, least)) if least else None,
        statuses=[AlertStatus(name) for name in choices(statuses or (), "--status", _STATUSES)],
        actors=actors or (),
        networks=[network(text, "--ip") for text in networks or ()],
        countries=countries or (),
        as_numbers=[autonomous_system(text, "--as") for text in as_numbers or ()],
        dispositions=choices(verdicts or (), "--closed-as", _VERDICTS),
    )


def filter_names(
    wanted: "AlertFilter",
    orgs: Sequence[str],
    rules: Sequence[str],
    settings: "Settings",
    database: "Database",
) -> "AlertFilter":
    """Add orgs and rules to the filter. Raise UsageError for a name that is neither configured nor stored."""
    from msgspec.structs import replace

    return replace(
        wanted, orgs=known_orgs(orgs, settings, database), rules=_known_rules(rules, settings, database)
    )


def known_orgs(names: Sequence[str], settings: "Settings", database: "Database") -> Sequence[str]:
    """Return the names unchanged. Raise UsageError for an org that is neither configured nor stored."""
    if not names:
        return ()
    from oktawatch.store.alerts import orgs_and_rules

    known = sorted({*orgs_and_rules(database)[0], *(org.name for org in settings.orgs)})
    for name in names:
        if name not in known:
            raise UsageError(f"no such org (--org {name}): {_suggestion(name, known)}")
    return names


def _known_rules(globs: Sequence[str], settings: "Settings", database: "Database") -> Sequence[str]:
    """Return the ids of the rules that match the globs, ignoring case. Raise UsageError for a glob without a match.

    The rules are loaded only for a glob that matches no rule with alerts.
    """
    if not globs:
        return ()
    from oktawatch.store.alerts import orgs_and_rules

    stored = orgs_and_rules(database)[1]
    found = []
    for glob in globs:
        ids = _matching(stored, glob) or _matching(_configured_rules(settings), glob)
        if not ids:
            known = sorted({*stored, *_configured_rules(settings)})
            raise UsageError(f"no such rule (--rule {glob}): {_suggestion(glob, known)}")
        found += ids
    return list(dict.fromkeys(found))


def choices(values: Sequence[str], option: str, allowed: Sequence[str]) -> Sequence[str]:
    """Return the values unchanged. Raise UsageError for a value that is not allowed."""
    for value in values:
        if value not in allowed:
            raise UsageError(f"wrong value ({option} {value}): expected one of {', '.join(allowed)}")
    return values


def network(text: str, option: str) -> "Network":
    """Parse an address or a CIDR. Raise UsageError for other text."""
    from ipaddress import ip_network

    try:
        if "%" not in text:  # In fe80::1%eth0, the interface has a meaning only on one host.
            return ip_network(text.strip(), strict=False)
    except ValueError:
        pass
    raise UsageError(f"not an address ({option} {text}): expected one such as 203.0.113.7 or 203.0.113.0/24")


def autonomous_system(text: str, option: str) -> int:
    """Parse an AS number. Raise UsageError for other text."""
    found = _AS_NUMBER(text.strip())
    if found is None:
        raise UsageError(f"not an AS number ({option} {text}): expected one such as 64500 or AS64500")
    return int(found[1])


def _matching(ids: Iterable[str], glob: str) -> list[str]:
    return [rule_id for rule_id in ids if fnmatchcase(rule_id.lower(), glob.lower())]


def _configured_rules(settings: "Settings") -> list[str]:
    from oktawatch.service.app import Application

    return list(Application(settings).rulebook.every)


def _suggestion(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1)
    guess = f"did you mean {close[0]}? " if close else ""
    return f"{guess}there are: {', '.join(known) or 'none yet'}"
