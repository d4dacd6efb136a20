"""``oktawatch user`` and ``oktawatch ip``: show the sign-ins of a person or from an address."""

from typing import TYPE_CHECKING, Annotated

import typer

from oktawatch.cli.alert_filters import known_orgs, network
from oktawatch.cli.exits import DONE, FAILED
from oktawatch.cli.options import LARGEST_ID, WHEN, ConfigFile, Debug, Json, point_in_time
from oktawatch.cli.output import note, print_json
from oktawatch.cli.people_page import print_address, print_person, profile_as_json
from oktawatch.cli.setup import existing_database, load_without_secrets

if TYPE_CHECKING:
    from datetime import datetime

_Org = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Filter by org. Default: all.")]
_Since = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN",
        help=f"List sign-ins from this time on. {WHEN} Default: up to 90 days, as far as a search of 0.2 seconds gets.",
        show_default=False,
    ),
]
_Limit = Annotated[int, typer.Option(min=1, max=LARGEST_ID, metavar="N", help="List at most N sign-ins.")]


def user(
    login: Annotated[
        str,
        typer.Argument(
            metavar="LOGIN", help="The user's login (case-insensitive), or Okta's id of the user."
        ),
    ],
    org: _Org = None,
    since: _Since = None,
    limit: _Limit = 20,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Show a person's addresses, sign-ins and alerts.

    Also shows what is new for the person.

    Exit 1 if no sign-in of this person is known.
    """
    from oktawatch.engine.people import person_profiles
    from oktawatch.model.timestamps import utc_now

    now = utc_now()
    begin = _begin(since, now)
    settings = load_without_secrets(config, debug=debug)
    with existing_database(settings) as database:
        orgs = known_orgs(org or (), settings, database)
        profiles = person_profiles(database, login, orgs=orgs, since=begin, limit=limit, now=now)
    if not profiles:
        note(
            f"error: no sign-in of {login} is known: check the spelling, or run 'oktawatch backfill' to read past events"
        )
        return FAILED
    if as_json:
        print_json([profile_as_json(profile) for profile in profiles])
        return DONE
    for profile in profiles:
        print_person(profile)
    return DONE


def ip(
    address: Annotated[str, typer.Argument(metavar="ADDRESS|CIDR", help="An address or a network.")],
    org: _Org = None,
    since: _Since = None,
    limit: _Limit = 20,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Show the people, sign-ins and alerts of an address.

    A network, such as 203.0.113.0/24, is shown in the same way.

    Exit 1 if no sign-in from there is known.
    """
    from oktawatch.engine.people import address_profiles
    from oktawatch.model.timestamps import utc_now

    now = utc_now()
    begin, wanted = _begin(since, now), network(address, "ADDRESS")
    settings = load_without_secrets(config, debug=debug)
    with existing_database(settings) as database:
        orgs = known_orgs(org or (), settings, database)
        profiles = address_profiles(database, wanted, orgs=orgs, since=begin, limit=limit, now=now)
    if not profiles:
        note(f"error: no sign-in from {address} is known: run 'oktawatch backfill' to read past events")
        return FAILED
    if as_json:
        print_json([profile_as_json(profile) for profile in profiles])
        return DONE
    for profile in profiles:
        print_address(address, profile)
    return DONE


def _begin(since: str | None, now: "datetime") -> "datetime | None":
    return point_in_time(since, "--since", now=now) if since is not None else None
