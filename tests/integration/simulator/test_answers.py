"""The simulated org's answers that are not pages: errors, limits, headers."""

import asyncio
import gzip
import json
import threading
import urllib.error
import urllib.request
from datetime import timedelta
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
from yarl import URL

from oktawatch.simulator import Request, SimulatedOrg, generate, running, serve
from tests.support.logclient import NOW, TOKEN, Answer, Client, Clock, event


def refusal(answer: Answer) -> tuple[int, str]:
    """Return status and code of an error answer, whose body has Okta's five keys."""
    body = answer.json
    assert list(body) == ["errorCode", "errorSummary", "errorLink", "errorId", "errorCauses"]
    assert body["errorLink"] == body["errorCode"]
    assert body["errorId"].startswith("oae")
    assert answer.headers["Content-Type"].startswith("application/json")
    return answer.status, body["errorCode"]


@pytest.mark.parametrize(
    "header",
    [
        f"SSWS{TOKEN}",
        f"SSWS  {TOKEN}",
        f"ssws {TOKEN}",
        f"SSWS {TOKEN}x",
        f"Bearer {TOKEN}",
        TOKEN,
        "",
        "SSWS \xff",
    ],
)
async def test_credentials_need_exactly_one_space(client: Client, header: str) -> None:
    """Anything but `SSWS`, one space and the token causes a 401."""
    assert refusal(await client.get("/api/v1/logs", Authorization=header)) == (401, "E0000011")


async def test_no_credentials_are_refused(org: SimulatedOrg) -> None:
    """A request without credentials or without the header is refused."""
    async with (
        serve(org) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/api/v1/logs") as response,
    ):
        assert response.status == 401


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"limit": "1001"}, "E0000001"),
        ({"limit": "-1"}, "E0000001"),
        ({"limit": "many"}, "E0000001"),
        ({"limit": "9" * 5000}, "E0000001"),
        ({"since": "yesterday"}, "E0000001"),
        ({"until": "0000-00-00"}, "E0000001"),
        ({"sortOrder": "SIDEWAYS"}, "E0000001"),
        ({"q": "vpn"}, "E0000001"),
        ({"since": "2026-05-27T00:00:00Z"}, "E0000053"),
        ({"filter": "eventType is good"}, "E0000031"),
        ({"filter": 'published gt "2026-11-01T00:00:00Z"'}, "E0000031"),
        ({"filter": 'target[type eq "User"]'}, "E0000031"),
        ({"after": ""}, "E0000029"),
        ({"after": "1627500044869_1"}, "E0000029"),
        ({"after": "*"}, "E0000029"),
    ],
)
async def test_invalid_requests_are_refused(client: Client, params: dict[str, str], code: str) -> None:
    """An invalid request is refused with status 400 and Okta's error code."""
    assert refusal(await client.logs(**params)) == (400, code)


async def test_since_and_after_exclude_each_other(org: SimulatedOrg, client: Client) -> None:
    """A request with both is refused, because a cursor contains its position."""
    org.persist(event(1))
    link = (await client.logs()).links["next"]
    assert refusal(await client.get(f"{link}&since=2026-11-24T00:00:00Z")) == (400, "E0000001")


async def test_a_changed_cursor_is_refused(org: SimulatedOrg, client: Client) -> None:
    """An `after` that the org did not create is refused."""
    org.persist(event(1))
    link = (await client.logs()).links["next"]
    start = link.index("after=") + len("after=") + 20
    other = "A" if link[start] != "A" else "B"
    assert refusal(await client.get(link[:start] + other + link[start + 1 :])) == (400, "E0000029")


async def test_other_paths_are_not_found(client: Client) -> None:
    """Paths other than the System Log and the token endpoint cause a 404."""
    assert refusal(await client.get("/api/v1/users")) == (404, "E0000007")
    assert refusal(await client.get("/")) == (404, "E0000007")


async def test_the_log_is_read_only(org: SimulatedOrg) -> None:
    """Another method than GET causes a 405."""
    headers = {"Authorization": f"SSWS {TOKEN}"}
    async with (
        serve(org) as url,
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{url}/api/v1/logs") as response,
    ):
        assert (response.status, (await response.json())["errorCode"]) == (405, "E0000022")


async def test_the_rate_limit_is_enforced_when_asked(clock: Clock) -> None:
    """After the last permitted request, each is refused with status 429 and the same reset until the window ends."""
    org = SimulatedOrg(now=clock, token=TOKEN, rate_limit=2)
    headers = {"Authorization": f"SSWS {TOKEN}"}
    async with serve(org) as url, aiohttp.ClientSession(headers=headers) as session:
        client = Client(url, session)
        answers = [await client.logs() for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert [answer.headers["X-Rate-Limit-Remaining"] for answer in answers] == ["1", "0", "0"]
        assert {answer.headers["X-Rate-Limit-Reset"] for answer in answers} == {
            str(int(NOW.timestamp()) + 60)
        }
        assert refusal(answers[2]) == (429, "E0000047")
        clock.time += timedelta(seconds=60)
        assert (await client.logs()).headers["X-Rate-Limit-Remaining"] == "1"


async def test_every_answer_has_oktas_headers(org: SimulatedOrg, client: Client) -> None:
    """Pages and errors have the org's date, a request id and the rate limit."""
    org.persist(event(1))
    answers = [await client.logs(), await client.logs(limit="x"), await client.get("/nowhere")]
    assert [parsedate_to_datetime(answer.headers["Date"]) for answer in answers] == [NOW] * 3
    assert len({answer.headers["X-Okta-Request-Id"] for answer in answers}) == 3
    assert [int(answer.headers["X-Rate-Limit-Remaining"]) for answer in answers] == [99_999, 99_998, 99_997]


async def test_pages_are_compressed_on_request(org: SimulatedOrg) -> None:
    """A page is compressed only if the client accepts gzip, and has the same events either way."""
    org.extend(generate(50, end=NOW))
    request = {"Authorization": f"SSWS {TOKEN}"}
    bodies = {}
    async with serve(org) as url, aiohttp.ClientSession(auto_decompress=False, headers=request) as session:
        for accepted in ("gzip, deflate", "identity"):
            async with session.get(f"{url}/api/v1/logs", headers={"Accept-Encoding": accepted}) as response:
                bodies[response.headers.get("Content-Encoding")] = await response.read()
    assert len(bodies["gzip"]) < len(bodies[None]) / 4
    assert gzip.decompress(bodies["gzip"]) == bodies[None]


async def test_requests_are_recorded(org: SimulatedOrg, client: Client) -> None:
    """The org records each request's path and query, and the status of its answer."""
    await client.get("/api/v1/logs?limit=5&filter=eventType%20pr")
    await client.get("/api/v1/logs?limit=x")
    assert org.requests == [
        Request("GET", "/api/v1/logs?limit=5&filter=eventType%20pr", 200),
        Request("GET", "/api/v1/logs?limit=x", 400),
    ]


def test_an_org_can_run_in_a_thread(org: SimulatedOrg) -> None:
    """Within the block, blocking callers can use the org, and events can be added."""
    with running(org) as url:
        request = urllib.request.Request(f"{url}/api/v1/logs", headers={"Authorization": f"SSWS {TOKEN}"})  # noqa: S310 -- http on loopback
        for count in range(3):
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 -- http on loopback
                assert len(json.load(response)) == count
            org.persist(event(count))
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(request, timeout=10)  # noqa: S310 -- http on loopback


def test_a_port_in_use_raises_an_os_error(org: SimulatedOrg) -> None:
    """The caller gets the error, and no thread is left."""
    with running(org) as url:
        port = URL(url).port
        assert port is not None
        with pytest.raises(OSError, match="address already in use"), running(org, port):
            pass
    assert "simulated-org" not in {thread.name for thread in threading.enumerate()}


async def test_an_org_grows_while_it_is_read(org: SimulatedOrg, client: Client) -> None:
    """Writers in other threads don't disturb the pages that are read."""

    def write() -> None:
        for number in range(500):
            org.persist(event(number))

    writing = asyncio.get_running_loop().run_in_executor(None, write)
    answer = await client.logs(limit="7")
    read = answer.numbers
    while len(read) < 500:
        answer = await client.get(answer.links["next"])
        read += answer.numbers
    await writing
    assert read == list(range(500))
