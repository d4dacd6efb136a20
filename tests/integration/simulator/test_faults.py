"""Each fault as a client sees it over a real connection."""

import asyncio
import errno
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import aiohttp
import pytest

from oktawatch.simulator import SimulatedOrg, faults, serve
from oktawatch.simulator.faults import Fault
from tests.support.logclient import NOW, TOKEN, Answer, Client, Clock, event

HEADERS = {"Authorization": f"SSWS {TOKEN}"}
RATE = ["X-Rate-Limit-Limit", "X-Rate-Limit-Remaining", "X-Rate-Limit-Reset"]


@pytest.fixture
async def client(org: SimulatedOrg) -> AsyncIterator[Client]:
    """Return a client without retries for an org with ten events."""
    for number in range(10):
        org.persist(event(number))
    async with serve(org) as url, aiohttp.ClientSession(headers=HEADERS) as session:
        session._retry_connection = False
        yield Client(url, session)


async def faulty_answer(org: SimulatedOrg, client: Client, fault: Fault) -> Answer:
    """Return the answer to a request with a fault. The next request must be answered normally."""
    org.faults.next(1, fault)
    answer = await client.logs(limit="5")
    assert (await client.logs(limit="5")).numbers == [0, 1, 2, 3, 4]
    assert org.requests[-2].fault == fault.name
    assert org.requests[-2].status == answer.status
    return answer


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.reset(), aiohttp.ClientOSError),
        (faults.close(), aiohttp.ServerDisconnectedError),
        (faults.cut_off(), aiohttp.ClientPayloadError),
        (faults.shorter_than_declared(), aiohttp.ClientPayloadError),
        (faults.longer_than_declared(), aiohttp.ClientResponseError),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_connections_break(
    org: SimulatedOrg, client: Client, fault: Fault, error: type[Exception]
) -> None:
    """A connection breaks before or within the answer, and the next request is answered normally."""
    org.faults.next(1, fault)
    with pytest.raises(error):
        await client.logs()
    assert len((await client.logs()).numbers) == 10
    assert [(found.status, found.fault) for found in org.requests] == [(None, fault.name), (200, None)]


async def test_a_reset_reaches_the_client(org: SimulatedOrg, client: Client) -> None:
    """The client gets a connection reset by the peer."""
    org.faults.next(1, faults.reset())
    with pytest.raises(aiohttp.ClientOSError) as received:
        await client.logs()
    assert received.value.errno == errno.ECONNRESET


async def test_aiohttp_repeats_a_request_once(org: SimulatedOrg) -> None:
    """Aiohttp repeats a request whose connection broke. Both requests are recorded, and both can get a fault."""
    async with serve(org) as url, aiohttp.ClientSession(headers=HEADERS) as session:
        client = Client(url, session)
        org.faults.next(1, faults.reset())
        assert (await client.logs()).status == 200
        org.faults.next(2, faults.reset())
        with pytest.raises(aiohttp.ClientOSError):
            await client.logs()
    assert [found.status for found in org.requests] == [None, 200, None, None]


async def test_a_hanging_request_ends_when_the_client_gives_up(org: SimulatedOrg, client: Client) -> None:
    """The org forgets a hanging request when the client closes the connection."""
    org.faults.next(1, faults.hang())
    requests = asyncio.create_task(client.logs())
    await org.faults.hangs.reached()
    assert (len(org.faults.hangs), org.requests) == (1, [])
    requests.cancel()
    await asyncio.wait([requests])
    assert len((await client.logs()).numbers) == 10
    assert len(org.faults.hangs) == 0
    assert [(found.status, found.fault) for found in org.requests] == [(None, "hang"), (200, None)]


async def test_hanging_requests_can_be_released(org: SimulatedOrg, client: Client) -> None:
    """A released request is answered, normally or with its fault."""
    org.faults.next(1, faults.hang())
    org.faults.next(1, faults.hang(faults.html(504)))
    requests = [asyncio.create_task(client.logs()) for _ in range(2)]
    await org.faults.hangs.reached(2)
    org.faults.hangs.release()
    assert sorted([(await task).status for task in requests]) == [200, 504]


async def test_an_org_stops_while_requests_hang(org: SimulatedOrg) -> None:
    """An org with hanging requests stops quickly, without a warning."""
    org.faults.next(2, faults.hang())
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        async with serve(org) as url:
            client = Client(url, session)
            requests = [asyncio.create_task(client.logs()) for _ in range(2)]
            await org.faults.hangs.reached(2)
            began = time.monotonic()
        assert time.monotonic() - began < 5
        await asyncio.wait(requests)
        for task in requests:
            assert task.done()
            task.exception()


async def test_a_body_can_stall(org: SimulatedOrg, client: Client) -> None:
    """A stalled answer has its header and half of its body, and its connection is closed when released."""
    org.faults.next(1, faults.stall())
    headers = {**HEADERS, "Accept-Encoding": "identity"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{client.base}/api/v1/logs") as response,
    ):
        length = int(response.headers["Content-Length"])
        assert (response.status, length) == (200, len(json.dumps(org.events, separators=(",", ":"))))
        first = await response.content.readany()
        await org.faults.hangs.reached()
        assert len(first) <= length // 2
        org.faults.hangs.release()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (faults.timed_out(), 500, "E0000009"),
        (faults.read_only(), 503, "E0000010"),
        (faults.refused_token(), 401, "E0000011"),
        (faults.no_permission(), 403, "E0000006"),
        (faults.too_many_requests(), 429, "E0000047"),
        (faults.concurrent(), 429, "E0000047"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_refusals_look_like_oktas(
    org: SimulatedOrg, client: Client, fault: Fault, status: int, code: str
) -> None:
    """A refusal has Okta's error body, its own date and the rate limit."""
    answer = await faulty_answer(org, client, fault)
    assert (answer.status, answer.json["errorCode"]) == (status, code)
    assert answer.headers["Date"] == "Tue, 24 Nov 2026 08:00:00 GMT"
    assert all(name in answer.headers for name in RATE)


async def test_rate_limits_caused_by_other_clients(org: SimulatedOrg, client: Client) -> None:
    """A 429 can mean a used-up window, or a limit of 0 for too many requests at once."""
    used_up = await faulty_answer(org, client, faults.too_many_requests())
    assert [used_up.headers[name] for name in RATE] == ["100000", "0", str(int(NOW.timestamp()) + 60)]
    concurrent = await faulty_answer(org, client, faults.concurrent())
    assert [concurrent.headers[name] for name in RATE[:2]] == ["0", "0"]
    assert org.violations == 0


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_gateways_answer_with_html(org: SimulatedOrg, client: Client, status: int) -> None:
    """A gateway's error has a date and none of Okta's headers."""
    answer = await faulty_answer(org, client, faults.html(status))
    assert (answer.status, answer.headers["Content-Type"].split(";")[0]) == (status, "text/html")
    assert answer.headers["Date"] == "Tue, 24 Nov 2026 08:00:00 GMT"
    assert not any(name.startswith(("X-Rate", "X-Okta")) for name in answer.headers)


@pytest.mark.parametrize("status", [429, 503])
async def test_an_answer_can_be_bare(org: SimulatedOrg, client: Client, status: int) -> None:
    """An answer can have a status without useful headers, and without a date."""
    answer = await faulty_answer(org, client, faults.bare(status))
    assert (answer.status, answer.body) == (status, b"")
    assert set(answer.headers) <= {"Content-Type", "Content-Length", "Connection"}


async def test_redirects_and_login_pages(org: SimulatedOrg, client: Client) -> None:
    """A login page or a redirect to it can replace the answer."""
    moved = await faulty_answer(org, client, faults.redirect("https://portal.example.org/", 307))
    assert (moved.status, moved.headers["Location"]) == (307, "https://portal.example.org/")
    page = await faulty_answer(org, client, faults.login_page())
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"<html>" in page.body


@pytest.mark.parametrize("compressed", [True, False])
async def test_bodies_are_broken(org: SimulatedOrg, client: Client, compressed: bool) -> None:
    """A broken body, such as an empty or a half one, has status 200 and the links of the normal answer."""
    encoding = {"Accept-Encoding": "gzip" if compressed else "identity"}
    good = (await client.get("/api/v1/logs", **encoding)).body
    bodies = {}
    for fault in (faults.empty(), faults.not_a_list(), faults.cut_short()):
        org.faults.next(1, fault)
        answer = await client.get("/api/v1/logs", **encoding)
        assert (answer.status, set(answer.links)) == (200, {"self", "next"})
        bodies[fault.name] = answer.body
    assert bodies["empty"] == b""
    assert bodies["not_a_list"] == b'{"events":[]}'
    assert bodies["cut_short"] == good[: len(good) // 2]


async def test_a_next_link_can_lead_elsewhere(org: SimulatedOrg, client: Client) -> None:
    """The next link has another origin, and the self link is right."""
    answer = await faulty_answer(org, client, faults.elsewhere("https://elsewhere.example.net"))
    good = await client.logs(limit="5")
    assert answer.links["self"] == good.links["self"]
    assert answer.links["next"] == good.links["next"].replace(client.base, "https://elsewhere.example.net")


async def test_a_polls_next_link_can_be_missing(org: SimulatedOrg, client: Client) -> None:
    """A poll's next link is removed, and a bounded request keeps its own."""
    assert list((await faulty_answer(org, client, faults.unlinked())).links) == ["self"]
    org.faults.next(1, faults.unlinked())
    bounded = await client.logs(limit="5", until=(NOW + timedelta(days=1)).isoformat())
    assert list(bounded.links) == ["self", "next"]


@pytest.mark.parametrize("bounds", [{}, {"until": "2026-11-25T00:00:00Z"}])
async def test_pages_can_be_short(org: SimulatedOrg, client: Client, bounds: dict[str, str]) -> None:
    """A page in the middle of a stream is short, without losing events or changing the limit."""
    org.faults.next(1, faults.short(2))
    first = await client.logs(limit="5", **bounds)
    second = await client.get(first.links["next"])
    assert (first.numbers, second.numbers) == ([0, 1], [2, 3, 4, 5, 6])


async def test_events_can_be_repeated(org: SimulatedOrg, client: Client) -> None:
    """Events are repeated on one page or two, and paging makes progress."""
    assert (await faulty_answer(org, client, faults.repeat())).numbers == [0, 1, 2, 3, 4, 0]
    first = await faulty_answer(org, client, faults.overlap(2))
    second = await client.get(first.links["next"])
    assert (first.numbers, second.numbers) == ([0, 1, 2, 3, 4], [3, 4, 5, 6, 7])
    org.faults.next(1, faults.overlap(99))
    first = await client.logs(limit="3")
    assert (await client.get(first.links["next"])).numbers == [1, 2, 3]


async def test_overlaps_make_progress(org: SimulatedOrg, client: Client) -> None:
    """A poll reaches its end in spite of any number of overlaps."""
    org.faults.some(1, [faults.overlap(5)], seed=1)
    answer = await client.logs(limit="4")
    read = answer.numbers
    while answer.links["next"] != answer.url:
        answer = await client.get(answer.links["next"])
        read += answer.numbers
    assert set(read) == set(range(10))
    assert len(read) > 10


async def test_a_uuid_can_have_two_bodies(org: SimulatedOrg, client: Client) -> None:
    """The original body comes first, and the contradicting one follows directly."""
    first, second, *rest = (await faulty_answer(org, client, faults.contradict())).json
    assert first == event(0)
    assert (second["uuid"], second["published"], second["eventType"]) == (
        first["uuid"],
        first["published"],
        first["eventType"],
    )
    assert second["actor"]["alternateId"] == "nobody@example.com"
    assert [found["number"] for found in rest] == [1, 2, 3, 4]


async def test_unreadable_events_are_not_contradicted(org: SimulatedOrg) -> None:
    """A page of broken events is unchanged."""
    org.persist(b"[" * 5000 + b"]" * 5000)
    org.faults.next(1, faults.contradict())
    async with serve(org) as url, aiohttp.ClientSession(headers=HEADERS) as session:
        assert (await Client(url, session).logs()).body == b"[" + b"[" * 5000 + b"]" * 5000 + b"]"


async def test_a_cursor_is_refused_once(org: SimulatedOrg, client: Client) -> None:
    """A fault refuses a cursor once, and doesn't apply to a request without a cursor."""
    org.faults.next(1, faults.refused_cursor())
    link = (await client.logs(limit="5")).links["next"]
    refused = await client.get(link)
    assert (refused.status, refused.json["errorCode"]) == (400, "E0000029")
    assert (await client.get(link)).numbers == [5, 6, 7, 8, 9]


async def test_a_cursor_is_forgotten(org: SimulatedOrg, client: Client, clock: Clock) -> None:
    """All cursors, the cursors from before a time, or a single one can be refused, and new cursors work."""
    link = (await client.logs(limit="5")).links["next"]
    org.cursors.forget()
    assert [(await client.get(link)).status for _ in range(2)] == [400, 400]
    clock.time += timedelta(hours=1)
    fresh = (await client.logs(limit="4")).links["next"]
    org.cursors.forget(before=clock.time)
    assert (await client.get(fresh)).numbers == [4, 5, 6, 7]
    org.cursors.forget_link(fresh)
    assert (await client.get(fresh)).json["errorCode"] == "E0000029"


async def test_no_fault_changes_the_org(org: SimulatedOrg, client: Client) -> None:
    """After any fault, the next request is answered normally, and both count towards the rate limit."""
    link = (await client.logs(limit="5")).links["next"]
    before = int((await client.get(link)).headers["X-Rate-Limit-Remaining"])
    for count, fault in enumerate(faults.every(), start=1):
        org.faults.next(1, fault)
        try:
            await client.get(link)
        except (aiohttp.ClientError, OSError):
            assert org.requests[-1].status is None
        assert org.requests[-1].fault == fault.name
        good = await client.get(link)
        assert good.numbers == [5, 6, 7, 8, 9]
        assert int(good.headers["X-Rate-Limit-Remaining"]) == before - 2 * count


async def test_other_clients_use_up_the_rate_limit(clock: Clock) -> None:
    """Other clients use up the limit, and only the client's own violations are counted."""
    org = SimulatedOrg(now=clock, token=TOKEN, rate_limit=10, others=6)
    async with serve(org) as url, aiohttp.ClientSession(headers=HEADERS) as session:
        client = Client(url, session)
        await client.logs()
        clock.time += timedelta(seconds=59)
        received = [(await client.logs()).headers["X-Rate-Limit-Remaining"] for _ in range(3)]
        assert (received, org.violations) == (["3", "2", "1"], 0)
        await client.logs()
        assert ((await client.logs()).status, org.violations, org.budget.refused) == (429, 1, 1)


@pytest.mark.parametrize("bounds", [{}, {"until": "2026-11-25T00:00:00Z"}])
async def test_links_can_be_missing_or_lead_nowhere(
    org: SimulatedOrg, client: Client, bounds: dict[str, str]
) -> None:
    """A link can be missing, lead to the same URL, or lead to the same or an empty page under a new URL each time."""

    async def answer_with(fault: Fault) -> Answer:
        org.faults.next(1, fault)
        return await client.logs(limit="5", **bounds)

    assert (await answer_with(faults.strip_links())).links == {}
    itself = await answer_with(faults.self_linked())
    assert itself.links == {"next": itself.url}
    first, second = [await answer_with(faults.circle()) for _ in range(2)]
    assert first.links != second.links
    assert (await client.get(first.links["next"])).numbers == first.numbers == [0, 1, 2, 3, 4]
    hollow = await answer_with(faults.hollow())
    assert (hollow.numbers, list(hollow.links)) == ([], ["next"])


async def test_a_next_link_can_name_another_limit(org: SimulatedOrg, client: Client) -> None:
    """The next link has a smaller limit than the request."""
    answer = await faulty_answer(org, client, faults.cap(2))
    assert answer.numbers == [0, 1]
    assert (await client.get(answer.links["next"])).numbers == [2, 3]


async def test_a_body_can_be_a_bomb(org: SimulatedOrg, client: Client) -> None:
    """A body that is small on the wire can have many elements."""
    assert (await faulty_answer(org, client, faults.bomb(5_000))).json == [{}] * 5_000
