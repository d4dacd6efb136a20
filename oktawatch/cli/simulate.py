"""``oktawatch simulate``: a simulated Okta org to try things out on."""

import asyncio
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
        help="What goes on beside ordinary sign-ins: anonymizing-vpn, apple-relay, password-spray, "
        "invalid-users, session-replay, many-sessions, first-proxy, admin-after-risky-sign-in, "
        "new-device-critical-operation, or quiet for nothing. May be given again. Default: the first two.",
        show_default=False,
    ),
]
_EventsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Serve the events of this file instead, one JSON object a line, in its order. "
        "Their times are moved together so that the newest is now.",
        show_default=False,
    ),
]


def simulate(
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Port on loopback; 0 takes a free one.")
    ] = 0,
    scenario: _Scenarios = None,
    events: _EventsFile = None,
    keep_times: Annotated[
        bool, typer.Option("--keep-times", help="With --events: leave their times as they are.")
    ] = False,
    rate_limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Serve N requests a minute, then answer 429. Default: any number.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Another number, other people and sign-ins.")] = 1,
    _config: UnusedConfigFile = None,
    _debug: Debug = False,
) -> int:
    """Serve a simulated Okta org on loopback until Ctrl-C.

    What it prints is a configuration for it: URL and token to paste, or a file for --config.
    """
    if events is None and keep_times:
        raise UsageError("--keep-times makes no sense by itself (simulate): give it with --events FILE")
    if events is not None and scenario:
        raise UsageError("--scenario and --events exclude each other (simulate): give one of them")
    from oktawatch.simulator import SimulatedOrg

    org = SimulatedOrg(rate_limit=rate_limit)
    if events is None:
        _follow(org, scenario or list(_DEFAULT_SCENARIOS), seed)
    else:
        _load(org, events, keep_times=keep_times)
    try:
        asyncio.run(_serve(org, port))
    except OSError as error:
        note(f"error: can't listen (127.0.0.1:{port}): {error.strerror}: give another --port, or none")
        return FAILED
    return DONE


def _follow(org: "SimulatedOrg", scenarios: list[str], seed: int) -> None:
    from oktawatch.simulator import build

    try:
        org.follow(build(scenarios, seed=seed, start=org.now()))
    except ValueError as error:
        raise UsageError(f"wrong value (--scenario): {error}") from None


def _load(org: "SimulatedOrg", events: Path, *, keep_times: bool) -> None:
    from oktawatch.simulator import load_events

    org.extend(load_events(events, now=org.now(), keep_times=keep_times))


async def _serve(org: "SimulatedOrg", port: int) -> None:
    from oktawatch.simulator import serve

    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with serve(org, port) as url:
        print(_configuration(url, org.token), flush=True)
        note(f"serving {len(org)} events; Ctrl-C ends it")
        await ended.wait()


def _configuration(url: str, token: str) -> str:
    return f"""\
# A simulated Okta org, until Ctrl-C.
#   URL    {url}
#   token  {token}
# For oktawatch.toml:

[[orgs]]
name = "simulated"
url = "{url}"
token = "{token}"
"""
