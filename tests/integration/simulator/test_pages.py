"""Pages of the simulated System Log over HTTP, as a client of Okta's sees them."""

from datetime import timedelta

from oktawatch.simulator import SimulatedOrg, generate
from tests.support.logclient import NOW, Client, Clock, event

SECOND = timedelta(seconds=1)


async def test_polling_follows_persistence_not_published(org: SimulatedOrg, client: Client) -> None:
    """A poll returns events in the order in which they were persisted, whatever they say of themselves."""
    org.persist(event(1, NOW - 5 * SECOND), persisted_at=NOW - 4 * SECOND)
    org.persist(event(2, NOW - 9 * SECOND), persisted_at=NOW - 3 * SECOND)
    org.persist(event(3, NOW - 7 * SECOND), persisted_at=NOW - 2 * SECOND)
    answer = await client.logs(since="2026-11-24T00:00:00Z", sortOrder="ASCENDING")
    assert answer.numbers == [1, 2, 3]


async def test_polling_never_ends(org: SimulatedOrg, client: Client, clock: Clock) -> None:
    """At the tail the next link is the request's own URL, and what comes later is found under it."""
    org.persist(event(1))
    first = await client.logs(limit="10")
    tail = await client.get(first.links["next"])
    assert (first.numbers, tail.numbers) == ([1], [])
    assert tail.links["self"] == tail.links["next"] == tail.url == first.links["next"]
    clock.time += SECOND
    org.persist(event(2, clock.time))
    assert (await client.get(tail.links["next"])).numbers == [2]


async def test_a_million_events_need_no_million_bodies(org: SimulatedOrg, client: Client) -> None:
    """Generated events are made when they are served: the same each time, and each with its own uuid."""
    org.extend(generate(2500, end=NOW))
    first = await client.logs(limit="1000")
    again = await client.logs(limit="1000")
    second = await client.get(first.links["next"])
    third = await client.get(second.links["next"])
    assert first.body == again.body
    uuids = {found["uuid"] for answer in (first, second, third) for found in answer.json}
    assert [len(first.json), len(second.json), len(third.json), len(uuids)] == [1000, 1000, 500, 2500]
