"""Custom rules that fail or are slow don't prevent their page from being committed."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from oktawatch.detection.registry import BUILT_IN
from oktawatch.engine import rule_budget
from oktawatch.engine.pipeline import PageResult, Watch, commit_page
from oktawatch.engine.rule_budget import ALARM_INTERVAL, FROZE, PAGE_LIMIT_S, RULE_LIMIT_S
from oktawatch.engine.rule_watchdog import CALL_LIMIT_S
from oktawatch.model.left_out import FrozenCall
from oktawatch.rules import CountInWindow, EventRule, FirstSeen, SignalRule, WindowRule
from oktawatch.store.database import Database
from oktawatch.store.left_out import left_out_since, record_frozen
from oktawatch.store.page_transaction import PageTransaction
from tests.support.custom_rules import custom_rule, watch_with
from tests.support.databases import NOW, ORG, open_database, rows
from tests.support.places import Place
from tests.support.streams import event, page


class Clock:
    """A monotonic clock that rules advance."""

    now_s = 0.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Measure rules by this clock."""
    made = Clock()
    monkeypatch.setattr(rule_budget, "monotonic", made)
    return made


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    """Return a fresh database."""
    with open_database(place) as made:
        yield made


def commit(database: Database, watched: Watch, first: int = 0, count: int = 200, **times: Any) -> PageResult:
    """Commit a page of proxied sign-ins."""
    events = [
        event(number, at=timedelta(seconds=number), securityContext={"isProxy": True})
        for number in range(first, first + count)
    ]

    def stay(_transaction: PageTransaction, _result: PageResult) -> None:
        """Leave the cursor where it is."""

    return commit_page(database, watched, page(events), notify=True, advance=stay, now=times.get("now", NOW))


def slow(clock: Clock, seconds: float = 0.02) -> Any:
    """Return a method that takes some time and returns True."""

    def method(_self: Any, _argument: Any) -> bool:
        clock.now_s += seconds
        return True

    return method


def matched(database: Database, name: str) -> int:
    """Count a rule's matches."""
    return sum(row["rule_id"] == name for row in rows(database, "matches"))


@pytest.mark.parametrize(
    ("kind", "method"),
    [(EventRule, "matches"), (CountInWindow, "takes"), (WindowRule, "holds"), (FirstSeen, "counts")],
)
def test_a_slow_rule_is_left_out_of_the_rest_of_its_page(
    database: Database, clock: Clock, kind: type, method: str
) -> None:
    """A slow rule is named in log, status and alarm, and its page is committed with the other rules' matches."""
    watched = watch_with(custom_rule(kind, "Slow", **{method: slow(clock)}))
    with capture_logs() as logs:
        result = commit(database, watched)
    assert (result.new_events, matched(database, BUILT_IN[0].id)) == (200, 200)
    assert RULE_LIMIT_S < clock.now_s < RULE_LIMIT_S + 0.1
    (line,) = [line for line in logs if line["event"] == "rule_left_out"]
    assert (line["org"], line["rule"], line["log_level"]) == (ORG, "Acme.Slow", "error")
    assert not [line for line in logs if line["event"] == "rule_failed"]
    (status,) = left_out_since(database, NOW)
    assert (status.org, status.rule_id, status.event_uuid) == (ORG, "Acme.Slow", line["event_uuid"])
    assert status.reason == f"it took more than {RULE_LIMIT_S:g} s on one page"
    (alarm,) = [row["content"] for row in rows(database, "notifications") if row["kind"] == "silence"]
    assert alarm["about"] == [
        {
            "what": "rule",
            "name": "Acme.Slow",
            "org": ORG,
            "event_uuid": line["event_uuid"],
            "error": status.reason,
        }
    ]


def test_a_slow_rule_raises_one_alarm_an_hour(database: Database, clock: Clock) -> None:
    """A slow rule raises one alarm an hour and has one row in `status`, however many pages it is left out of."""
    watched = watch_with(custom_rule(EventRule, "Slow", matches=slow(clock)))
    for minute in (0, 1, 59, 60):
        commit(database, watched, first=200 * minute, now=NOW + timedelta(minutes=minute))
    alarm_times = sorted(
        row["created_at"] for row in rows(database, "notifications") if row["kind"] == "silence"
    )
    assert alarm_times == [NOW, NOW + timedelta(hours=1)]
    assert [left_out.at for left_out in left_out_since(database, NOW)] == [NOW + timedelta(hours=1)]
    assert len(rows(database, "rules_left_out")) == 1


def test_many_slow_rules_share_a_time_limit(database: Database, clock: Clock) -> None:
    """Many slow rules together stay below the time limit of a Postgres transaction."""
    classes = [custom_rule(EventRule, f"Slow{number}", matches=slow(clock, 0.005)) for number in range(10)]
    commit(database, watch_with(*classes))
    assert PAGE_LIMIT_S < clock.now_s < PAGE_LIMIT_S + 0.1
    assert {left_out.reason for left_out in left_out_since(database, NOW)} == {
        f"your own rules together took more than {PAGE_LIMIT_S:g} s on one page"
    }


def test_no_rule_is_called_after_the_pages_time(database: Database, clock: Clock) -> None:
    """However many rules there are, only the running call can exceed the page's time."""
    call_s = CALL_LIMIT_S - 0.1
    classes = [custom_rule(EventRule, f"Slow{number}", matches=slow(clock, call_s)) for number in range(10)]
    result = commit(database, watch_with(*classes))
    assert clock.now_s <= PAGE_LIMIT_S + CALL_LIMIT_S
    assert (result.new_events, matched(database, BUILT_IN[0].id)) == (200, 200)
    assert len(left_out_since(database, NOW)) == len(classes)


def test_a_page_after_one_with_a_slow_rule_misses_nothing(database: Database, clock: Clock) -> None:
    """The page after one with a slow rule finds the rows of that page in the rule's windows."""
    seen: list[int] = []

    def takes(_self: Any, _row: Any) -> bool:
        clock.now_s += 0.03 if not seen else 0.0
        return True

    def holds(_self: Any, window: Any) -> bool:
        seen.append(len(window))
        return False

    watched = watch_with(
        custom_rule(WindowRule, "Slow", takes=takes, holds=holds, key=lambda _self, _row: ("one",))
    )
    commit(database, watched)
    seen.append(0)
    commit(database, watched, first=200, count=1)
    assert seen[-1] == 201


METHODS: tuple[tuple[type, str], ...] = (
    *((EventRule, name) for name in ("matches", "title", "context", "severity_of", "dedup", "classify")),
    *((CountInWindow, name) for name in ("takes", "key")),
    *((WindowRule, "holds"), (FirstSeen, "counts"), (SignalRule, "matches")),
)


class UnprintableError(Exception):
    """An exception of a custom rule with a bug of its own."""

    def __str__(self) -> str:
        """Fail."""
        raise SystemExit

    __repr__ = __str__


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), asyncio.CancelledError(), GeneratorExit(), BaseException("x"), UnprintableError()],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_rule_raises_is_contained(database: Database, error: BaseException) -> None:
    """An exception of a rule only prevents its match of the event, or the text of the match."""

    def raise_(_self: Any, _argument: Any) -> Any:
        raise error

    classes = []
    for number, (kind, method) in enumerate(METHODS):
        methods = {"matches": lambda *_: True, "holds": lambda *_: True} | {method: raise_}
        if kind is CountInWindow:
            del methods["holds"]
        classes.append(custom_rule(kind, f"Rude{number}", **methods))
    commit(database, watch_with(*classes), count=3)
    assert len(rows(database, "events")) == 3
    counts = [matched(database, f"Acme.Rude{number}") for number in range(len(METHODS))]
    assert counts == [0, 3, 3, 3, 3, 3, 0, 0, 0, 0, 0]
    assert matched(database, BUILT_IN[0].id) == 3


def test_a_keyboard_interrupt_in_a_thread_is_contained(database: Database) -> None:
    """A KeyboardInterrupt that a rule raises in a thread is contained."""

    def matches(_self: Any, _event: Any) -> bool:
        raise KeyboardInterrupt

    watched = watch_with(custom_rule(EventRule, "Rude", matches=matches))
    result = asyncio.run(asyncio.to_thread(commit, database, watched, count=3))
    assert result.new_events == 3
    with pytest.raises(KeyboardInterrupt):
        commit(database, watched, first=3, count=3)


def test_a_rule_that_froze_skips_the_page_and_the_event(database: Database) -> None:
    """A rule that froze the process skips that event's page, and that event on other pages."""
    asked: list[str] = []

    def matches(_self: Any, seen: Any) -> bool:
        asked.append(seen.uuid)
        return True

    watched = watch_with(custom_rule(EventRule, "Frozen", matches=matches))
    uuids = [event(number).uuid for number in range(400)]
    call = FrozenCall(org=ORG, rule_id="Acme.Frozen", event_uuid=uuids[150], page_uuid=uuids[0], began=0.0)
    for _ in range(2):
        record_frozen(database, call, ["soc"], reason=FROZE, alarm_interval=ALARM_INTERVAL, now=NOW)
    assert commit(database, watched).new_events == 200
    assert asked == []
    assert commit(database, watched, first=200).new_events == 200
    assert asked == uuids[200:]
    assert len([row for row in rows(database, "notifications") if row["kind"] == "silence"]) == 1
    assert [left_out.reason for left_out in left_out_since(database, NOW)] == [FROZE]


def test_the_alarm_about_a_rule_that_freezes_often_is_repeated(database: Database) -> None:
    """A rule that freezes more often than the alarm's interval raises an alarm each interval, not only once."""
    for number in range(7):
        call = FrozenCall(org=ORG, rule_id="Acme.Frozen", event_uuid=f"e{number}", page_uuid="", began=0.0)
        now = NOW + number * ALARM_INTERVAL / 3
        record_frozen(database, call, ["soc"], reason=FROZE, alarm_interval=ALARM_INTERVAL, now=now)
    assert len([row for row in rows(database, "notifications") if row["kind"] == "silence"]) == 3


def test_a_rule_that_freezes_repeatedly_is_left_out_for_a_day(database: Database) -> None:
    """A rule that froze the process several times is left out for a day."""
    asked: list[str] = []

    def matches(_self: Any, seen: Any) -> bool:
        asked.append(seen.uuid)
        return True

    watched = watch_with(custom_rule(EventRule, "Frozen", matches=matches))
    for number in range(3):
        call = FrozenCall(
            org=ORG, rule_id="Acme.Frozen", event_uuid=f"other-{number}", page_uuid="", began=0.0
        )
        record_frozen(database, call, [], reason=FROZE, alarm_interval=ALARM_INTERVAL, now=NOW)
    commit(database, watched, count=3)
    assert asked == []
    commit(database, watched, first=3, count=3, now=NOW + timedelta(days=1, minutes=1))
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("orgs", "left_out"), [(("a", "b", "c"), True), (("a", "a", "a", "b"), False), (("a", "b", ORG), True)]
)
def test_a_rule_that_freezes_on_several_orgs_is_left_out_of_all(
    database: Database, orgs: tuple[str, ...], *, left_out: bool
) -> None:
    """A rule that froze on events of three orgs is left out of all. One org alone can't turn a rule off for another."""
    asked: list[str] = []

    def matches(_self: Any, seen: Any) -> bool:
        asked.append(seen.uuid)
        return True

    watched = watch_with(custom_rule(EventRule, "Frozen", matches=matches))
    for number, org in enumerate(orgs):
        call = FrozenCall(
            org=org, rule_id="Acme.Frozen", event_uuid=f"other-{number}", page_uuid="", began=0.0
        )
        record_frozen(database, call, [], reason=FROZE, alarm_interval=ALARM_INTERVAL, now=NOW)
    commit(database, watched, count=3)
    assert len(asked) == (0 if left_out else 3)
    reasons = {rule.reason for rule in left_out_since(database, NOW) if rule.org == ORG}
    assert reasons == ({f"{FROZE} on events of 3 orgs within a day"} if left_out else set())
    commit(database, watched, first=3, count=3, now=NOW + timedelta(days=1, minutes=1))
    assert len(asked) == (3 if left_out else 6)


def test_a_freeze_in_one_org_does_not_affect_an_equal_uuid_in_another(database: Database) -> None:
    """A frozen call belongs to its org: another org's event with the same uuid is still evaluated."""
    watched = watch_with(custom_rule(EventRule, "Frozen", matches=lambda _self, _event: True))
    uuid = event(0).uuid
    call = FrozenCall(org="other", rule_id="Acme.Frozen", event_uuid=uuid, page_uuid=uuid, began=0.0)
    record_frozen(database, call, [], reason=FROZE, alarm_interval=ALARM_INTERVAL, now=NOW)
    commit(database, watched, count=3)
    assert matched(database, "Acme.Frozen") == 3
