"""Recorded exchanges with an org, replayed without a network.

`make cassettes` records them again: from a simulated org, or from the org of `OKTA_CLIENT_ORGURL` and `OKTA_CLIENT_TOKEN`
(service apps always from a simulated one). Recordings are scrubbed (tests/support/scrub.py).
"""

import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from vcr.cassette import Cassette

from oktawatch.model.timestamps import utc_now
from oktawatch.simulator import ServiceApp as App
from oktawatch.simulator import SimulatedOrg, faults, generate, serve
from oktawatch.simulator.oauth import TOKEN as TOKEN_PATH
from oktawatch.systemlog.access import OrgAccess, ServiceApp
from oktawatch.systemlog.client import LogClient
from oktawatch.systemlog.errors import RequestRefusedError, TokenRefusedError
from oktawatch.systemlog.page import Page
from oktawatch.systemlog.queries import LOGS_PATH, bounded_query, polling_query
from tests.support.scrub import ORG_URL, Scrubber, path_and_query
from tests.support.signing import CLIENT, rsa_pem, rsa_public_jwk
from tests.support.virtual import START as NOW
from tests.support.virtual import VirtualTime

TOKEN = "00invented-token-for-recordings"
WRONG_TOKEN = "00invented-token-that-is-refused"
CASSETTES = Path(__file__).parents[2] / "cassettes" / "systemlog"
SIGN_INS = 'eventType eq "user.session.start"'
MOST_PAGES = 4


def _recorded(test: Any) -> Any:
    return pytest.mark.vcr(pytest.mark.block_network(test))


@pytest.fixture
def clock() -> VirtualTime:
    """Return a clock that advances only while the program sleeps."""
    return VirtualTime()


@pytest.fixture(scope="module")
def vcr_cassette_dir() -> str:
    """Return the folder of the recordings."""
    return str(CASSETTES)


@pytest.fixture
def vcr_config() -> dict[str, Any]:
    """Scrub requests and responses, and compare requests by their complete URL."""
    scrubber = Scrubber()
    return {
        "before_record_request": scrubber.request,
        "before_record_response": scrubber.response,
        "match_on": ["method", "scheme", "host", "port", "path", "query"],
    }


def _simulated(clock: VirtualTime) -> SimulatedOrg:
    org = SimulatedOrg(token=TOKEN, now=clock, rate_limit=600)
    org.extend(generate(12, end=NOW, span=timedelta(minutes=50), proxy_share=0.3))
    return org


@pytest.fixture
async def org(record_mode: str, clock: VirtualTime) -> AsyncIterator[OrgAccess]:
    """Yield an org to record, or the recorded one."""
    if record_mode == "none":
        yield OrgAccess("acme", ORG_URL, TOKEN)
    elif url := os.environ.get("OKTA_CLIENT_ORGURL"):
        yield OrgAccess("acme", url, os.environ["OKTA_CLIENT_TOKEN"])
    else:
        async with serve(_simulated(clock)) as url:
            yield OrgAccess("acme", url, TOKEN)


@pytest.fixture
async def tight_org(record_mode: str, clock: VirtualTime) -> AsyncIterator[OrgAccess]:
    """Yield an org whose rate limit is used up by other clients. It is simulated: a real one would mail its admins."""
    if record_mode == "none":
        yield OrgAccess("acme", ORG_URL, TOKEN)
    else:
        simulated = _simulated(clock)
        simulated.faults.kth(2, faults.too_many_requests())
        async with serve(simulated) as url:
            yield OrgAccess("acme", url, TOKEN)


@pytest.fixture
async def app_org(record_mode: str, clock: VirtualTime) -> AsyncIterator[OrgAccess]:
    """Yield an org that is read by a service app."""
    access = OrgAccess("acme", ORG_URL, app=ServiceApp(CLIENT, rsa_pem(), kid="k1"))
    if record_mode == "none":
        yield access
        return
    org = _simulated(clock)
    org.oauth.register(App(CLIENT, keys=[rsa_public_jwk("k1")]))
    # The SDK signs by this machine's clock.
    with time_machine.travel(NOW, tick=False):
        async with serve(org) as url:
            yield replace(access, url=url)


async def _ask(
    org: OrgAccess, cassette: Cassette, query: str, *, most: int = 1, clock: VirtualTime | None = None
) -> list[Page]:
    """Send the recorded query, or ``query`` if it is recorded now; follow the links."""
    client = LogClient(org, budget=clock.budget() if clock else None)
    asked = [request.uri for request in cassette.requests if request.path == LOGS_PATH]
    following = path_and_query(asked[0]) if asked else query
    pages: list[Page] = []
    try:
        while len(pages) < most and not (pages and pages[-1].caught_up):
            pages.append(await client.page(following))
            following = pages[-1].resume
    finally:
        await client.close()
    return pages


def _bodies(cassette: Cassette) -> list[Any]:
    return [json.loads(response["body"]["string"]) for response in cassette.responses]


def _since() -> datetime:
    return (utc_now() if os.environ.get("OKTA_CLIENT_ORGURL") else NOW) - timedelta(hours=1)


@_recorded
async def test_polling(org: OrgAccess, vcr: Cassette) -> None:
    """Each page continues where the previous one ended, has decodable events, and has a next link."""
    pages = await _ask(org, vcr, polling_query(since=_since(), filter=SIGN_INS, limit=5), most=MOST_PAGES)
    bodies = _bodies(vcr)
    assert len(pages) == len(bodies)
    for page, body in zip(pages, bodies, strict=True):
        assert [event.uuid for event in page.events] == [event["uuid"] for event in body]
        assert {event.event_type for event in page.events} <= {"user.session.start"}
        proxied = [event["uuid"] for event in body if event["securityContext"]["isProxy"] is True]
        assert [event.uuid for event in page.events if event.is_proxy] == proxied
        assert page.rejected == []
        assert page.next is not None
        assert page.date is not None
    assert pages[-1].caught_up or len(pages) == MOST_PAGES


@_recorded
async def test_bounded_reading(org: OrgAccess, vcr: Cassette) -> None:
    """A bounded read ends, in the order of ``published``, without duplicates."""
    since = _since()
    query = bounded_query(since=since, until=since + timedelta(hours=1), filter=SIGN_INS, limit=5)
    pages = await _ask(org, vcr, query, most=50)
    events = [event for page in pages for event in page.events]
    assert [event.uuid for event in events] == [event["uuid"] for body in _bodies(vcr) for event in body]
    assert len({event.uuid for event in events}) == len(events)
    assert [event.published for event in events] == sorted(event.published for event in events)
    assert pages[-1].next is None


@_recorded
async def test_a_refused_token(org: OrgAccess, vcr: Cassette) -> None:
    """A 401 of Okta raises TokenRefusedError."""
    with pytest.raises(TokenRefusedError) as caught:
        await _ask(
            OrgAccess(org.name, org.url, WRONG_TOKEN), vcr, polling_query(since=_since(), filter="", limit=5)
        )
    assert caught.value.error_code == "E0000011"
    assert caught.value.request_id


@_recorded
async def test_a_refused_filter(org: OrgAccess, vcr: Cassette) -> None:
    """The error quotes Okta's reason for refusing the filter."""
    with pytest.raises(RequestRefusedError) as caught:
        await _ask(org, vcr, polling_query(since=_since(), filter="eventType is odd", limit=5))
    assert caught.value.status == 400
    assert _bodies(vcr)[0]["errorSummary"][:40] in str(caught.value)


@_recorded
async def test_a_refused_cursor(org: OrgAccess, vcr: Cassette) -> None:
    """An invalid cursor raises RequestRefusedError."""
    with pytest.raises(RequestRefusedError) as caught:
        await _ask(org, vcr, "/api/v1/logs?after=damaged&limit=5&sortOrder=ASCENDING")
    assert caught.value.status == 400


@_recorded
async def test_the_rate_limit(tight_org: OrgAccess, vcr: Cassette, clock: VirtualTime) -> None:
    """A request that is refused by the rate limit waits for the reset, and is then answered."""
    pages = await _ask(
        tight_org,
        vcr,
        polling_query(since=NOW - timedelta(hours=1), filter=SIGN_INS, limit=5),
        most=2,
        clock=clock,
    )
    assert [response["status"]["code"] for response in vcr.responses] == [200, 429, 200]
    assert [page.count for page in pages] == [5, 5]
    assert len(clock.slept) == 1
    assert 1 <= clock.slept[0] <= 65


def _statuses(cassette: Cassette) -> list[tuple[str, int]]:
    return [
        (request.path, response["status"]["code"])
        for request, response in zip(cassette.requests, cassette.responses, strict=True)
    ]


@_recorded
async def test_a_service_app(app_org: OrgAccess, vcr: Cassette) -> None:
    """A service app requests one access token, and then pages."""
    pages = await _ask(app_org, vcr, polling_query(since=_since(), filter=SIGN_INS, limit=5), most=MOST_PAGES)
    assert _statuses(vcr) == [(TOKEN_PATH, 200)] + [(LOGS_PATH, 200)] * len(pages)
    assert [page.count for page in pages][:2] == [5, 5]


@_recorded
async def test_a_service_app_with_dpop(app_org: OrgAccess, vcr: Cassette) -> None:
    """A service app with DPoP answers Okta's challenge with the nonce."""
    assert app_org.app is not None
    bound = replace(app_org, app=replace(app_org.app, dpop=True))
    pages = await _ask(bound, vcr, polling_query(since=_since(), filter=SIGN_INS, limit=5), most=MOST_PAGES)
    assert _statuses(vcr) == [(TOKEN_PATH, 400), (TOKEN_PATH, 200)] + [(LOGS_PATH, 200)] * len(pages)
    assert [page.count for page in pages][:2] == [5, 5]


@_recorded
async def test_a_refused_service_app(app_org: OrgAccess, vcr: Cassette) -> None:
    """An unknown service app gets no access token."""
    stranger = replace(app_org, app=ServiceApp("0oa-of-a-stranger", rsa_pem()))
    with pytest.raises(TokenRefusedError, match="invalid_client"):
        await _ask(stranger, vcr, polling_query(since=_since(), filter="", limit=5))
    assert _statuses(vcr) == [(TOKEN_PATH, 401)]


def test_no_recording_holds_a_secret() -> None:
    """A recording contains no token, host, cookie or person."""
    secrets = [TOKEN, WRONG_TOKEN, "SSWS", "Bearer ", "authorization:", "cookie", "127.0.0.1", "localhost"]
    secrets += ["okta.com", "dpop:", "eyJ", CLIENT, "0oa-of-a-stranger"]
    secrets += [
        os.environ[name] for name in ("OKTA_CLIENT_TOKEN", "OKTA_CLIENT_ORGURL") if os.environ.get(name)
    ]
    for event in _simulated(VirtualTime()).events:
        actor, client = event["actor"], event["client"]
        secrets += [
            actor["displayName"],
            actor["alternateId"],
            actor["id"],
            client["geographicalContext"]["city"],
        ]
        secrets += [client["userAgent"]["rawUserAgent"]]
    found = sorted(CASSETTES.glob("*.yaml"))
    assert len(found) == 9
    for path in found:
        text = path.read_text().lower()
        assert [secret for secret in secrets if secret.lower() in text] == []
