"""The messages about a success after failures, for any order of arrival of the events."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.deliver import LEASE, Notifier
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.engine.routing import Route
from oktawatch.model.event import Event
from oktawatch.notify.message import Message
from oktawatch.store.outbox import claim
from tests.support.databases import ORG, open_database
from tests.support.outbox import COMPOSER, RULES, Clock, Receiver
from tests.support.places import Place
from tests.support.streams import event, page
from tests.unit.notify.test_documented import example, shown

SECONDS = timedelta(seconds=1)
AGENT = "ExampleBrowser/1.0"
TRIED = "[MEDIUM] nora@example.com tried to sign in through NordVPN, Oslo (acme)"
SIGNED_IN = "[MEDIUM] nora@example.com signed in through NordVPN, Oslo (acme)"
GOT_IN_AFTER = "[HIGH] nora@example.com got in after 1 failure through NordVPN, Oslo (acme)"


def sign_in(number: int, result: str, *, who: str = "nora", at: timedelta = timedelta()) -> Event:
    """Return a sign-in through a VPN in Oslo."""
    return event(
        number,
        at=at,
        actor={"id": f"00u{who}", "alternateId": f"{who}@example.com", "displayName": who.capitalize()},
        outcome={"result": result, "reason": "INVALID_CREDENTIALS" if result == "FAILURE" else None},
        client={
            "ipAddress": "203.0.113.7",
            "userAgent": {"rawUserAgent": AGENT},
            "geographicalContext": {"city": "Oslo", "country": "Norway"},
        },
        securityContext={
            "isProxy": True,
            "ipDetails": {"ipServiceCategories": [{"type": "VPN", "operator": "NORD_VPN"}]},
        },
    )


FAILED, GOT_IN = sign_in(1, "FAILURE"), sign_in(2, "SUCCESS", at=8 * SECONDS)


class Story:
    """A database and a receiver. Readers and senders are created again for each step, as after a restart."""

    def __init__(self, database: DatabaseExecutor) -> None:
        self.database = database
        self.clock = Clock()
        self.receiver = Receiver()

    def read(self, events: Sequence[Event], *, notify: bool = True) -> None:
        """Commit a page."""
        watch = Watch(org=ORG, rules=RULES, routes=(Route(notifier="soc"),))
        sent = page(events, date=self.clock())
        advance = lambda *_: None  # noqa: E731 -- no cursor to move
        commit_page(self.database.database, watch, sent, notify=notify, advance=advance, now=self.clock())

    async def deliver(self) -> list[str]:
        """Send the due messages; return the headings of all messages so far."""
        self.clock.advance(seconds=1)
        notifier = Notifier(
            "soc", self.receiver, COMPOSER, self.database,
            max_age=timedelta(days=1), per_minute=30, now=self.clock, clock=self.clock.monotonic,
        )  # fmt: skip
        await notifier.round()
        return [message.heading for message in self.receiver.taken]


@pytest.fixture
def story(place: Place) -> Iterator[Story]:
    """Open a database of either kind."""
    with open_database(place):
        database = DatabaseExecutor(place.url)
        yield Story(database)
        database.close()


async def test_a_failure_and_a_success_cause_two_messages(story: Story) -> None:
    """A failure and a success 8 seconds later cause two messages, and none when they are read again."""
    story.read([FAILED])
    assert await story.deliver() == [TRIED]
    story.read([GOT_IN])
    assert await story.deliver() == [TRIED, GOT_IN_AFTER]
    story.read([FAILED, GOT_IN])
    assert await story.deliver() == [TRIED, GOT_IN_AFTER]

    first, second = story.receiver.taken
    assert first.id != second.id
    assert first.incident == second.incident is not None
    assert second.type == "alert.raised"
    assert (second.body["alert"]["successes"], second.body["alert"]["failures"]) == (1, 1)
    for line in (
        "Outcome: 1 failure, then a success at 12:00:08 UTC (the first: INVALID_CREDENTIALS)",
        "Client: ExampleBrowser/1.0",
        "Anonymizer: VPN (NORD_VPN)",
    ):
        assert line in second.plain().splitlines()


async def test_a_message_says_what_is_new_for_the_person(story: Story) -> None:
    """A message says what is new for the person, and who else used the address."""
    story.read([FAILED])
    await story.deliver()
    story.read([sign_in(3, "SUCCESS", who="mia", at=timedelta(hours=7))])
    story.read([sign_in(4, "FAILURE", at=timedelta(hours=8))])
    await story.deliver()
    first, _, again = story.receiver.taken

    assert "New for this person: country, address, anonymizer (no earlier sign-in is known)" in first.plain()
    assert "this address" not in first.plain()
    assert "this person" not in again.plain()
    assert "Also at this address: 1 other person" in again.plain()
    assert (again.body["alert"]["new"], again.body["alert"]["others"]) == ([], 1)


async def test_a_failure_and_a_success_on_one_page_cause_one_message(story: Story) -> None:
    """A failure and a success on one page cause one message, which has the success."""
    story.read([FAILED, GOT_IN])

    assert await story.deliver() == [GOT_IN_AFTER]


async def test_a_late_failure_sends_its_success_again(story: Story) -> None:
    """A success is notified once more when a failure before it arrives late."""
    story.read([GOT_IN])
    assert await story.deliver() == [SIGNED_IN]
    story.read([FAILED])
    story.read([GOT_IN, FAILED])

    assert await story.deliver() == [SIGNED_IN, GOT_IN_AFTER]


@pytest.mark.parametrize("events", [[FAILED, GOT_IN], [GOT_IN, FAILED]])
async def test_a_poll_sends_the_success_of_a_silent_backfill(story: Story, events: list[Event]) -> None:
    """A poll after a backfill without notifications sends the success once."""
    story.read(events, notify=False)
    assert await story.deliver() == []
    story.read([FAILED])
    story.read([GOT_IN])

    assert await story.deliver() == [GOT_IN_AFTER]


async def test_a_poll_sends_a_success_that_a_silent_backfill_recorded(story: Story) -> None:
    """A success that a backfill recorded without notification is sent by the next poll."""
    story.read([FAILED])
    await story.deliver()
    story.read([FAILED, GOT_IN], notify=False)
    assert await story.deliver() == [TRIED]
    story.read([GOT_IN])

    assert await story.deliver() == [TRIED, GOT_IN_AFTER]


async def test_a_backfill_sends_a_success_hours_later(story: Story) -> None:
    """A success that a backfill with --notify reads hours later is sent by itself."""
    story.clock.advance(hours=5)
    story.read([FAILED, GOT_IN, sign_in(3, "FAILURE", who="mia"), sign_in(4, "FAILURE", who="otto")])

    assert await story.deliver() == [
        GOT_IN_AFTER,
        "[HIGH] 3 alerts about old events: 1 got in: nora@example.com (acme)",
    ]


async def test_a_process_that_dies_while_sending_sends_again_under_the_same_id(story: Story) -> None:
    """The receiver gets the success again under the same id."""
    story.read([FAILED, GOT_IN])
    claimed = claim(story.database.database, "soc", now=story.clock(), lease=LEASE)
    assert claimed is not None
    lost = COMPOSER.compose(claimed)
    story.clock.advance(seconds=LEASE.total_seconds())

    assert await story.deliver() == [lost.heading] == [GOT_IN_AFTER]
    assert story.receiver.taken[0].id == lost.id


def people(count: int, *, first: int = 0) -> list[Event]:
    """Return a failure of each of some people at one address."""
    return [sign_in(100 + n, "FAILURE", who=f"q{n}", at=n * SECONDS) for n in range(first, first + count)]


def digests(story: Story) -> list[Message]:
    """Return the digests that arrived."""
    return [message for message in story.receiver.taken if message.type == "digest"]


async def test_a_campaign_names_who_got_in(story: Story) -> None:
    """A campaign names the person who succeeded in its heading and first in its list, and is a level higher."""
    story.read([*people(14), sign_in(200, "SUCCESS", who="q3", at=60 * SECONDS)])
    headings = await story.deliver()

    assert headings == [
        "[HIGH] q3@example.com got in after 1 failure through NordVPN, Oslo (acme)",
        "[HIGH] Campaign from 203.0.113.7: 14 tried, 1 got in: q3@example.com (acme)",
    ]
    (message,) = digests(story)
    lines = dict(line.split(": ", 1) for line in message.plain().splitlines())
    assert lines["Got in"].startswith("q3@example.com (alert ")
    assert lines["Tried"].endswith("+8 more")
    assert "q3@example.com" not in lines["Tried"]
    alert = lines["Got in"].removeprefix("q3@example.com (alert ").rstrip(")")
    assert lines["Acknowledge"].startswith(f"oktawatch alerts ack {alert} ")
    assert lines["Look"].endswith("--ip 203.0.113.7")
    assert lines["What to do"].startswith("Ask the user")
    digest: dict[str, Any] = message.body["digest"]
    assert (digest["people"], digest["got_in"], digest["severity"]) == (14, 1, "HIGH")
    assert digest["got_in_names"] == {"q3@example.com": int(alert)}
    assert len(digest["alert_ids"]) == 14
    assert shown(message) == example("text", 1)


async def test_a_campaign_without_a_success_stays_at_its_severity(story: Story) -> None:
    """A campaign without a success keeps its severity and names no person."""
    story.read(people(14))

    assert await story.deliver() == ["[MEDIUM] Campaign from 203.0.113.7: 14 tried (acme)"]
    assert "Got in" not in digests(story)[0].plain()


async def test_a_campaign_names_who_got_in_before_it_was_one(story: Story) -> None:
    """A campaign includes the successes that were sent before it was recognised."""
    story.read([sign_in(1, "SUCCESS"), *people(3)])
    assert len(await story.deliver()) == 4
    story.read(people(2, first=3))

    assert (await story.deliver())[4:] == [
        "[HIGH] Campaign from 203.0.113.7: 6 tried, 1 got in: nora@example.com (acme)"
    ]


async def test_a_campaign_with_many_successes_names_some_and_counts_the_others(story: Story) -> None:
    """Of many successes in a campaign, the heading names three and the list ten, and both count the others."""
    story.read([sign_in(300 + n, "SUCCESS", who=f"z{n:02}", at=n * SECONDS) for n in range(12)])

    assert await story.deliver() == [
        "[HIGH] Campaign from 203.0.113.7: 12 got in: z00@example.com, z01@example.com, z02@example.com, +9 more (acme)"
    ]
    (got_in,) = [line.text for line in digests(story)[0].lines if line.label == "Got in"]
    assert got_in.endswith("z09@example.com (alert 10), +2 more")
