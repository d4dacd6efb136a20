"""``oktawatch simulate``: serve a simulated Okta org."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oktawatch.cli.exits import DONE, FAILED, UsageError
from oktawatch.cli.options import Debug, UnusedConfigFile
from oktawatch.cli.output import note

if TYPE_CHECKING:
    from oktawatch.simulator import SimulatedOrg

_DEFAULT_SCENARIOS = ("anonymizing-vpn", "apple-relay")

_Scenarios = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Activity in addition to ordinary sign-ins: anonymizing-vpn, apple-relay, password-spray, "
        "invalid-users, session-replay, many-sessions, first-proxy, admin-after-risky-sign-in, "
        "new-device-critical-operation, blocked-anonymizer, or quiet for none. Repeat for several. Default: the first two.",
        show_default=False,
    ),
]
_EventsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Serve the events of this file, in its order, instead of scenarios. The file has one JSON object per line. "
        "The events' times are shifted so that the newest is now.",
        show_default=False,
    ),
]


def simulate(
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Port on loopback. 0 selects a free port.")
    ] = 0,
    scenario: _Scenarios = None,
    events: _EventsFile = None,
    keep_times: Annotated[
        bool, typer.Option("--keep-times", help="With --events: keep the events' times.")
    ] = False,
    rate_limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Serve N requests per minute, then respond with 429. Default: no limit.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed for the generated users and sign-ins.")] = 1,
    _config: UnusedConfigFile = None,
    _debug: Debug = False,
) -> int:
    """Serve a simulated Okta org on loopback until Ctrl-C.

    Prints a configuration for the org, which can be redirected to a file for --config.
    """
    import asyncio

    if events is None and keep_times:
        raise UsageError("--keep-times requires --events (simulate): add --events FILE")
    if events is not None and scenario:
        raise UsageError("--scenario and --events exclude each other (simulate): use one of them")
    from oktawatch.simulator import SimulatedOrg

    org = SimulatedOrg(rate_limit=rate_limit)
    if events is None:
        _play(org, scenario or list(_DEFAULT_SCENARIOS), seed)
    else:
        _load(org, events, keep_times=keep_times)
    try:
        asyncio.run(_serve(org, port, endless=events is None))
    except OSError as error:
        note(f"error: can't listen (127.0.0.1:{port}): {error.strerror}: use another --port, or none")
        return FAILED
    return DONE


def _play(org: "SimulatedOrg", scenarios: list[str], seed: int) -> None:
    from oktawatch.simulator import build

    try:
        org.play(build(scenarios, seed=seed, start=org.now()))
    except ValueError as error:
        raise UsageError(f"wrong value (--scenario): {error}") from None


def _load(org: "SimulatedOrg", events: Path, *, keep_times: bool) -> None:
    from oktawatch.simulator import EventsFileError, load_events

    try:
        org.extend(load_events(events, now=org.now(), keep_times=keep_times))
    except EventsFileError as error:
        raise UsageError(str(error)) from None


async def _serve(org: "SimulatedOrg", port: int, *, endless: bool) -> None:
    import asyncio

    from oktawatch.simulator import serve

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with serve(org, port) as url:
        print(_configuration(url, org.token), flush=True)
        more = " so far, and new ones as time passes" if endless else ""
        note(f"serving {len(org)} events{more}; press Ctrl-C to stop")
        await stopped.wait()


def _configuration(url: str, token: str) -> str:
    return f"""\
# A simulated Okta org. Press Ctrl-C to stop it.
#   URL    {url}
#   token  {token}
# Configuration for oktawatch.toml:

[[orgs]]
name = "simulated"
url = "{url}"
token = "{token}"
"""
