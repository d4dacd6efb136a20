"""Pages of the simulated System Log over HTTP, as a client of Okta sees them."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from yarl import URL

from oktawatch.simulator import SimulatedOrg, build, generate
from tests.support.logclient import NOW, Client, Clock, event

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


async def test_polling_follows_persistence_not_published(org: SimulatedOrg, client: Client) -> None:
    """A poll returns events in the order of persistence, whatever `published` says."""
    org.persist(event(1, NOW - 5 * SECOND), persisted_at=NOW - 4 * SECOND)
    org.persist(event(2, NOW - 9 * SECOND), persisted_at=NOW - 3 * SECOND)
    org.persist(event(3, NOW - 7 * SECOND), persisted_at=NOW - 2 * SECOND)
    answer = await client.logs(since="2026-11-24T00:00:00Z", sortOrder="ASCENDING")
    assert answer.numbers == [1, 2, 3]
    later = await client.logs(since=(NOW - 3 * SECOND).isoformat(), sortOrder="ASCENDING")
    assert later.numbers == [2, 3]


async def test_polling_never_ends(org: SimulatedOrg, client: Client, clock: Clock) -> None:
    """At the end, the next link is the request's own URL, and later events are found under it."""
    org.persist(event(1))
    first = await client.logs(limit="10")
    tail = await client.get(first.links["next"])
    assert (first.numbers, tail.numbers) == ([1], [])
    assert tail.links["self"] == tail.links["next"] == tail.url == first.links["next"]
    clock.time += SECOND
    org.persist(event(2, clock.time))
    assert (await client.get(tail.links["next"])).numbers == [2]


async def test_an_empty_org_has_a_next_link(org: SimulatedOrg, client: Client) -> None:
    """A poll that has found nothing yet finds the org's first event under its link."""
    empty = await client.logs()
    org.persist(event(1))
    assert (empty.numbers, (await client.get(empty.links["next"])).numbers) == ([], [1])


async def test_bounded_requests_follow_published_and_end(org: SimulatedOrg, client: Client) -> None:
    """A bounded request sorts by `published`, includes since and excludes until; its last page has only a self link."""
    for number, ago in enumerate((3, 1, 5, 2, 4)):
        org.persist(event(number, NOW - ago * SECOND))
    bounds = {"since": (NOW - 4 * SECOND).isoformat(), "until": (NOW - SECOND).isoformat()}
    first = await client.logs(limit="2", **bounds)
    last = await client.get(first.links["next"])
    assert (first.numbers, last.numbers) == ([4, 0], [3])
    assert list(last.links) == ["self"]
    assert (await client.logs(sortOrder="DESCENDING", **bounds)).numbers == [3, 0, 4]


async def test_a_full_last_page_has_no_next(org: SimulatedOrg, client: Client) -> None:
    """A full last page has no next link to an empty page."""
    org.extend((NOW - SECOND, event(number, NOW - SECOND)) for number in range(2))
    assert list((await client.logs(limit="2", until=NOW.isoformat())).links) == ["self"]


async def test_each_link_has_its_own_header_line(org: SimulatedOrg, client: Client) -> None:
    """The self link is the request's URL, and the next link has an after and no since."""
    org.persist(event(1))
    text = 'eventType eq "user.session.start"'
    answer = await client.logs(since="2026-11-24T00:00:00Z", limit="5", filter=text, sortOrder="ASCENDING")
    assert len(answer.headers.getall("Link")) == 2
    assert answer.links["self"] == answer.url
    link = urlsplit(answer.links["next"])
    params = parse_qs(link.query)
    assert f"{link.scheme}://{link.netloc}{link.path}" == f"{client.base}/api/v1/logs"
    assert params.pop("after")
    assert params == {"limit": ["5"], "filter": [text], "sortOrder": ["ASCENDING"]}


async def test_a_cursor_keeps_its_limit_and_filter(org: SimulatedOrg, client: Client) -> None:
    """Another filter or limit sent along with `after` changes nothing, on any later page either."""
    for number in range(6):
        org.persist(event(number, eventType="user.session.start" if number % 2 else "user.session.end"))
    first = await client.logs(limit="1", filter='eventType eq "user.session.start"')
    changed = URL(first.links["next"]).update_query(filter='eventType eq "user.session.end"', limit="1000")
    second = await client.get(str(changed))
    third = await client.get(second.links["next"])
    assert (first.numbers, second.numbers, third.numbers) == ([1], [3], [5])
    unchanged = await client.get(first.links["next"])
    assert (unchanged.body, unchanged.links["next"]) == (second.body, second.links["next"])


async def test_the_default_time_range_is_seven_days(org: SimulatedOrg, client: Client) -> None:
    """Without since, a request starts seven days ago, or seven days before until."""
    for number, days in enumerate((8, 6, 3)):
        org.persist(event(number, NOW - days * DAY), persisted_at=NOW - days * DAY)
    assert (await client.logs()).numbers == [1, 2]
    assert (await client.logs(until=(NOW - 2 * DAY).isoformat())).numbers == [0, 1, 2]
    assert (await client.logs(until=(NOW - 0.5 * DAY).isoformat())).numbers == [1, 2]


async def test_events_are_kept_for_ninety_days(org: SimulatedOrg, client: Client) -> None:
    """A request with an older since returns the last 90 days."""
    for number, days in enumerate((91, 89)):
        org.persist(event(number, NOW - days * DAY), persisted_at=NOW - days * DAY)
    since = (NOW - 120 * DAY).isoformat()
    assert (await client.logs(since=since)).numbers == [1]
    assert (await client.logs(since=since, until=NOW.isoformat())).numbers == [1]


@pytest.mark.parametrize(("limit", "expected"), [(None, 100), ("0", 0), ("1", 1), ("1000", 1000)])
async def test_a_page_has_at_most_a_thousand_events(
    org: SimulatedOrg, client: Client, limit: str | None, expected: int
) -> None:
    """A page has a hundred events by default and at most a thousand."""
    org.extend(generate(1100, end=NOW))
    answer = await (client.logs() if limit is None else client.logs(limit=limit))
    assert len(answer.json) == expected


async def test_a_filter_reads_any_attribute(org: SimulatedOrg, client: Client) -> None:
    """A filter finds the same proxied sign-ins as the test does in the events."""
    org.play(build(["anonymizing-vpn"], start=NOW, rate=20))
    text = 'eventType eq "user.session.start" and securityContext.isProxy eq true'
    found = await client.logs(filter=text, limit="1000")
    expected = [
        made
        for made in org.events
        if made["eventType"] == "user.session.start" and made["securityContext"]["isProxy"] is True
    ]
    assert expected
    assert found.json == expected


async def test_generated_events_are_the_same_each_time(org: SimulatedOrg, client: Client) -> None:
    """Events are generated when they are served, each with its own uuid."""
    org.extend(generate(2500, end=NOW))
    first = await client.logs(limit="1000")
    again = await client.logs(limit="1000")
    second = await client.get(first.links["next"])
    third = await client.get(second.links["next"])
    assert first.body == again.body
    uuids = {found["uuid"] for answer in (first, second, third) for found in answer.json}
    assert [len(first.json), len(second.json), len(third.json), len(uuids)] == [1000, 1000, 500, 2500]
