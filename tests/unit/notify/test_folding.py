"""The selection of a notifier's next messages: the most severe first, the least severe in digests, and none lost."""

from collections import Counter
from datetime import timedelta
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from oktawatch.model.notification import DigestReason, NotificationKind
from oktawatch.model.outbox import (
    DeliveryPlan,
    DigestTopic,
    OpenedAlert,
    OutboxState,
    SentNotification,
    WaitingNotification,
)
from oktawatch.model.severity import Severity
from oktawatch.notify.folding import CAMPAIGN_PEOPLE, CAMPAIGN_TIME, MINUTE, is_urgent, plan_delivery
from tests.support.databases import NOW

ABOVE = DigestTopic(DigestReason.ABOVE)
SECOND = timedelta(seconds=1)


def alert(number: int, severity: Severity | None = Severity.MEDIUM, **fields: Any) -> WaitingNotification:
    """Build the notification, not attempted yet, of a new alert. Each number has a separate person and address."""
    defaults: dict[str, Any] = {
        "id": f"alert-{number}",
        "alert_id": number,
        "kind": NotificationKind.OPENED,
        "severity": severity,
        "late": False,
        "attempts": 0,
        "next_attempt_at": NOW - SECOND,
        "created_at": NOW - SECOND,
        "client_ip": f"198.51.100.{number}",
        "person": f"user{number}@example.com",
    }
    return WaitingNotification(**(defaults | fields))


def message(name: str, kind: NotificationKind, **fields: Any) -> WaitingNotification:
    """Build a waiting message that is not about a single alert."""
    return alert(0, None, id=name, alert_id=None, kind=kind, client_ip=None, person=None, **fields)


def sent(
    number: int, severity: Severity = Severity.MEDIUM, *, ago: timedelta = SECOND
) -> list[SentNotification]:
    """Return a number of alerts that were sent ``ago``."""
    notification = SentNotification(kind=NotificationKind.OPENED, severity=severity, sent_at=NOW - ago)
    return [notification] * number


def plan(
    *waiting: WaitingNotification,
    per_minute: int | None = 10,
    sent: list[SentNotification] | None = None,
    opened: list[OpenedAlert] | None = None,
) -> DeliveryPlan:
    """Plan the delivery. New digests have the ids ``digest-1``, ``digest-2`` and so on."""
    numbers = count(1)
    state = OutboxState(waiting=list(waiting), sent=sent or [], opened=opened or [])
    return plan_delivery(state, now=NOW, per_minute=per_minute, new_id=lambda: f"digest-{next(numbers)}")


def test_a_flood_hides_no_high_alert() -> None:
    """HIGH and CRITICAL alerts are sent at once, the most severe first, even if a flood has used up the limit."""
    flood = [alert(number, Severity.LOW) for number in range(100)]
    planned = plan(
        *flood, alert(200, Severity.HIGH), alert(201, Severity.CRITICAL), sent=sent(10, Severity.LOW)
    )

    assert planned.send == ["alert-201", "alert-200"]
    assert planned.folds == []


def test_the_least_severe_are_folded_first() -> None:
    """The least severe alerts are folded first, so a late MEDIUM alert is sent by itself."""
    flood = [alert(number, Severity.LOW) for number in range(20)]
    planned = plan(*flood, alert(50, Severity.MEDIUM), alert(51, Severity.INFO), per_minute=4)

    assert planned.send == ["alert-50", "alert-0", "alert-1", "digest-1"]
    (fold,) = planned.folds
    assert fold.topic == ABOVE
    assert "alert-51" in fold.ids
    assert len(fold.ids) == 19


def test_a_flood_of_high_alerts() -> None:
    """If urgent alerts exceed the allowance, the most severe are sent one by one, and the others in an urgent digest."""
    flood = [alert(number, Severity.HIGH) for number in range(50)]
    planned = plan(*flood, alert(60, Severity.CRITICAL), alert(61, Severity.LOW), per_minute=4)

    assert planned.send == ["alert-60", "alert-0", "alert-1", "digest-1", "alert-61"]
    (fold,) = planned.folds
    assert fold.topic == DigestTopic(DigestReason.ABOVE, urgent=True)
    assert len(fold.ids) == 48


def test_a_limit_of_one_message_a_minute_is_kept() -> None:
    """With an allowance of one, the most severe alert is sent at once, and the digest has to wait."""
    planned = plan(*(alert(number, Severity.HIGH) for number in range(5)), per_minute=1)

    assert planned.send == ["alert-0"]
    assert [len(fold.ids) for fold in planned.folds] == [4]


def test_urgent_alerts_are_not_folded_with_others() -> None:
    """HIGH alerts join neither a campaign nor a digest of old alerts."""
    same = [alert(number, client_ip="203.0.113.7") for number in range(6)]
    bad = alert(7, Severity.HIGH, client_ip="203.0.113.7")
    old = [alert(number, late=True) for number in range(10, 13)]
    bad_old = alert(13, Severity.HIGH, late=True)
    planned = plan(*same, bad, *old, bad_old)

    assert planned.send[:2] == ["alert-7", "alert-13"]
    topics = {fold.topic: len(fold.ids) for fold in planned.folds}
    assert topics == {
        DigestTopic(DigestReason.LATE): 3,
        DigestTopic(DigestReason.CAMPAIGN, "client_ip", "203.0.113.7"): 6,
    }


def test_an_alarm_does_not_wait_behind_a_flood() -> None:
    """An alarm about oktawatch itself counts as urgent."""
    planned = plan(
        *(alert(number) for number in range(30)),
        message("alarm", NotificationKind.SILENCE),
        sent=sent(10),
    )

    assert planned.send == ["alarm"]


def test_urgent_messages_have_a_separate_allowance() -> None:
    """Ten HIGH alerts within a minute use up the limit of HIGH alerts only."""
    planned = plan(alert(1), alert(2, Severity.HIGH), sent=sent(10, Severity.HIGH))

    assert planned.send == ["alert-1"]


def test_alerts_are_added_to_an_unsent_digest() -> None:
    """Alerts are folded into an existing digest, or into a new one if it was attempted."""
    flood = [alert(number) for number in range(20)]
    for attempts, into in ((0, "waiting"), (1, "digest-1")):
        waiting = message("waiting", NotificationKind.DIGEST, topic=ABOVE, attempts=attempts)
        (fold,) = plan(waiting, *flood).folds
        assert (fold.digest_id, fold.new) == (into, attempts == 1)


def test_without_a_limit_everything_is_sent_worst_first() -> None:
    """Without a limit, every message is sent and none is folded."""
    planned = plan(
        alert(1),
        *(alert(number, late=True) for number in range(2, 9)),
        alert(9, Severity.HIGH),
        per_minute=None,
    )

    assert planned.send == ["alert-9", *(f"alert-{number}" for number in range(1, 9))]
    assert planned.folds == []


def test_a_known_campaign_is_collected() -> None:
    """Alerts of a known campaign are collected for ten minutes after its digest."""
    topic = DigestTopic(DigestReason.CAMPAIGN, "client_ip", "203.0.113.7")
    digest = SentNotification(
        kind=NotificationKind.DIGEST, severity=None, sent_at=NOW - timedelta(minutes=3), topic=topic
    )
    planned = plan(alert(1, client_ip="203.0.113.7"), sent=[digest])

    (postponed,) = planned.postponements
    assert postponed.ids == ["alert-1"]
    assert postponed.until == digest.sent_at + CAMPAIGN_TIME
    assert planned.send == []


ADDRESS = "203.0.113.7"


def campaign_digest(
    *, got_in: int = 0, by: str = "client_ip", source: str | int = ADDRESS, ago: timedelta = 3 * MINUTE
) -> SentNotification:
    """Build a campaign's digest that was sent ``ago``."""
    return SentNotification(
        kind=NotificationKind.DIGEST,
        severity=None,
        sent_at=NOW - ago,
        topic=DigestTopic(DigestReason.CAMPAIGN, by, source),
        got_in=got_in,
    )


def test_a_success_in_a_campaign_of_failures_is_sent_at_once() -> None:
    """In a known campaign, an alert about a success is sent at once, and alerts about failures are collected."""
    got_in, failed = alert(1, client_ip=ADDRESS, successes=1), alert(2, client_ip=ADDRESS)
    planned = plan(got_in, failed, sent=[campaign_digest()])

    assert planned.send == ["alert-1"]
    assert [postponed.ids for postponed in planned.postponements] == [["alert-2"]]
    assert planned.folds == []


def test_a_success_in_a_campaign_joins_no_new_campaign() -> None:
    """A success from the address of a known campaign is sent by itself, not in a new digest about its network."""
    network = [
        alert(n, client_ip=ADDRESS, as_number=64500, next_attempt_at=NOW + MINUTE) for n in range(2, 9)
    ]
    got_in = alert(1, client_ip=ADDRESS, as_number=64500, successes=1)
    planned = plan(got_in, *network, sent=[campaign_digest()])

    assert (planned.send, planned.folds) == (["alert-1"], [])


def test_a_campaign_of_successes_is_collected() -> None:
    """Successes are collected if at least five people got in: in the last digest, singly after it, or waiting."""
    waiting = [alert(n, client_ip=ADDRESS, successes=1) for n in range(2)]
    for in_digest, sent_singly in ((5, 0), (3, 0), (0, 3)):
        singly = [OpenedAlert(ADDRESS, None, f"before{n}", n + 10, 1) for n in range(sent_singly)]
        planned = plan(*waiting, sent=[campaign_digest(got_in=in_digest)], opened=singly)

        assert planned.send == []
        assert [postponed.ids for postponed in planned.postponements] == [["alert-0", "alert-1"]]
        assert plan(*waiting, sent=[campaign_digest()], opened=singly[1:]).postponements == []


@given(
    st.integers(0, 6),
    st.lists(st.integers(0, 7), max_size=6),
    st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=8),
)
def test_successes_of_a_campaign_are_sent_singly_until_there_are_many(
    in_digest: int, sent_singly: list[int], waiting: list[tuple[int, bool]]
) -> None:
    """All due successes of a known campaign are sent, or none: it depends on the number of people who got in."""
    opened = [OpenedAlert(ADDRESS, None, f"user{n}@example.com", n + 10, 1) for n in sent_singly]
    alerts = [
        alert(n, id=f"alert-{place}", client_ip=ADDRESS, successes=int(success))
        for place, (n, success) in enumerate(waiting)
    ]
    planned = plan(*alerts, per_minute=50, sent=[campaign_digest(got_in=in_digest)], opened=opened)

    successes = {one.id for one in alerts if one.successes}
    people = {one.person for one in opened} | {one.person for one in alerts if one.successes}
    few = in_digest + len(people) < CAMPAIGN_PEOPLE
    assert set(planned.send) == (successes if few else set())
    postponed = {number for one in planned.postponements for number in one.ids}
    assert postponed == {one.id for one in alerts} - set(planned.send)


def test_each_known_campaign_of_a_success_must_have_few_successes() -> None:
    """A success is collected if its network is a campaign of successes, even if its address is not."""
    got_in = alert(1, client_ip=ADDRESS, as_number=64500, successes=1)
    network = campaign_digest(by="as_number", source=64500, got_in=5)

    assert plan(got_in, sent=[campaign_digest(), network]).send == []
    assert plan(got_in, sent=[campaign_digest()]).send == ["alert-1"]


def test_successes_of_a_campaign_are_counted_however_long_they_wait() -> None:
    """Successes that waited for the campaign's next digest, or for the receiver, are sent in that digest."""
    ago = CAMPAIGN_TIME + SECOND
    waiting = [alert(n, client_ip=ADDRESS, successes=1, created_at=NOW - ago) for n in range(9)]
    planned = plan(*waiting, sent=[campaign_digest(ago=ago)])

    assert planned.send == ["digest-1"]
    assert len(planned.folds[0].ids) == len(waiting)


def test_successes_from_many_campaigns_of_one_network_are_collected() -> None:
    """Few successes from each address are collected if at least five people of the network got in."""
    addresses = [f"198.51.100.{n}" for n in range(5)]
    waiting = [alert(n, client_ip=addresses[n], as_number=64500, successes=1) for n in range(5)]
    campaigns = [campaign_digest(source=address) for address in addresses]

    assert plan(*waiting, sent=campaigns).send == []
    assert plan(*waiting[1:], sent=campaigns).send == [f"alert-{n}" for n in range(1, 5)]


def test_a_digest_records_how_many_people_got_in() -> None:
    """A new digest counts the people with a success, not their alerts."""
    tried = [alert(n, client_ip=ADDRESS) for n in range(6)]
    twice = [alert(n, client_ip=ADDRESS, person="user0@example.com", successes=2) for n in (7, 8)]

    (fold,) = plan(*tried, *twice).folds
    assert fold.got_in == 1


def test_a_campaign_counts_people_of_earlier_alerts() -> None:
    """Four people with earlier alerts and a fifth person are a campaign. Many alerts of one person are not."""
    before = [OpenedAlert("203.0.113.7", None, f"before{number}", number + 10) for number in range(4)]
    fifth = alert(1, client_ip="203.0.113.7")

    (fold,) = plan(fifth, opened=[*before, OpenedAlert("198.51.100.9", None, "elsewhere", 20)]).folds
    assert (fold.people, fold.earlier) == (5, [10, 11, 12, 13])
    assert plan(fifth, opened=[OpenedAlert("203.0.113.7", None, fifth.person)] * 9).folds == []


def test_decisions_follow_new_alerts() -> None:
    """Decisions are sent after new alerts, and are never folded."""
    decisions = [alert(n, Severity.CRITICAL, kind=NotificationKind.CLOSED) for n in range(100, 130)]
    planned = plan(*decisions, *(alert(n) for n in range(8)))

    assert planned.folds == []
    assert planned.send == [f"alert-{n}" for n in (*range(8), 100, 101)]
    flood = plan(*decisions, *(alert(n) for n in range(20)))
    assert not any(name in flood.send for name in ("alert-100", "alert-129"))
    assert [len(fold.ids) for fold in flood.folds] == [11]


waiting = st.builds(
    lambda number, severity, attempts, late, network, minutes, opened: alert(
        number,
        severity,
        attempts=attempts,
        late=late,
        as_number=network,
        next_attempt_at=NOW + timedelta(minutes=minutes),
        kind=NotificationKind.OPENED if opened else NotificationKind.RAISED,
    ),
    st.integers(1, 10_000),
    st.sampled_from(Severity),
    st.sampled_from((0, 0, 0, 2)),
    st.booleans(),
    st.sampled_from((None, 64500, 64501)),
    st.sampled_from((-2, -1, 0, 1)),
    st.booleans(),
)  # fmt: skip


@given(
    st.lists(waiting, max_size=40, unique_by=lambda one: one.id),
    st.integers(1, 12),
    st.lists(st.sampled_from(Severity), max_size=15),
)
def test_the_properties_of_folding_hold(
    alerts: list[WaitingNotification], per_minute: int, lately: list[Severity]
) -> None:
    """Nothing is lost or duplicated, limits hold, attempted messages are unchanged, and urgent ones are not folded."""
    before = [one for severity in lately for one in sent(1, severity)]
    planned = plan(*alerts, per_minute=per_minute, sent=before)
    by_id = {one.id: one for one in alerts}
    folded = [number for fold in planned.folds for number in fold.ids]
    postponed = [number for one in planned.postponements for number in one.ids]
    single = [number for number in planned.send if number in by_id]

    assert max(Counter(folded + postponed + single).values(), default=1) == 1
    assert all(by_id[number].next_attempt_at <= NOW for number in folded + postponed + single)
    assert not any(by_id[number].attempts for number in folded + postponed)
    urgent = [number for number in planned.send if number in by_id and is_urgent(by_id[number])]
    urgent += [
        fold.digest_id for fold in planned.folds if fold.topic.urgent and fold.digest_id in planned.send
    ]
    urgent_left = max(per_minute - sum(map(is_urgent, before)), 0)
    ordinary_left = max(per_minute - sum(not is_urgent(one) for one in before), 0)
    assert len(urgent) <= urgent_left
    assert len(planned.send) - len(urgent) <= ordinary_left
    due_urgent = [one for one in alerts if is_urgent(one) and one.next_attempt_at <= NOW]
    if len(due_urgent) <= urgent_left:
        assert set(planned.send) >= {one.id for one in due_urgent}
    for fold in planned.folds:
        if fold.topic.reason is DigestReason.ABOVE:
            worst = max(by_id[number].severity or 0 for number in fold.ids)
            kept = [by_id[number] for number in single if is_urgent(by_id[number]) == fold.topic.urgent]
            assert all((one.severity or 0) >= worst for one in kept if not one.attempts)


@given(st.integers(0, 90))
def test_messages_older_than_a_minute_do_not_count(seconds: int) -> None:
    """Messages older than a minute don't count towards the limit."""
    ago = timedelta(seconds=seconds)
    planned = plan(alert(1), sent=sent(10, ago=ago))

    assert planned.send == (["alert-1"] if ago >= MINUTE else [])
