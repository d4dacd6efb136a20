"""Run the daemon in virtual time with every kind of fault, in an order that Hypothesis chooses.

Okta returns faulty answers, clocks jump, the database fails, receivers refuse and hang, and the process is killed.
Three properties must hold:

- Nothing is lost. Every event that Okta can return becomes a match, and its alert is sent to every notifier.
- Nothing is duplicated. No receiver gets two messages with one key, or two messages about an alert at one severity.
- No outage is silent. If no event has been alerted for `silence.after`, a receiver has got the reason, or the process
  has ended with an error.

`make test` runs a few seeds, `make soak` 500. A seed is one run of the state machine.
"""

import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from oktawatch.model.rejected_share import RejectedShare
from tests.support.simulation.okta_client import TROUBLES
from tests.support.simulation.receiver import Receiver
from tests.support.simulation.storage import Storage
from tests.support.simulation.world import AFTER, RECEIVERS, STOP_WITHIN_S, World, make_template

SEEDS = int(os.environ.get("OKTAWATCH_SIMULATION_SEEDS", "5"))
_BLOCK = 50
_STEPS = 16
_GRACE = timedelta(minutes=6)
"""The time after `silence.after` for the check, the requests, the delivery, and the back-off of a receiver that has failed."""
_SETTLED = timedelta(minutes=5)
_PATIENCE = 30
"""The maximum number of `_SETTLED` until everything is repaired: a message may wait an hour for its next attempt."""
_KEPT = timedelta(days=400)
MINUTE = timedelta(minutes=1)
_JUMPS = [
    timedelta(), *(2 * MINUTE, -2 * MINUTE), *(timedelta(hours=2), timedelta(hours=-2)),
    *(timedelta(days=days) for days in (1, -1, 120, 9_000, -9_000)),
]  # fmt: skip
_MINUTES = st.sampled_from([1, 7, 3, 13])


class Simulation(RuleBasedStateMachine):
    """One run of the state machine."""

    template: Path
    covered: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None
        self._folder = Path(tempfile.mkdtemp(dir=self.template.parent))

    @initialize(number=st.integers(0, 2**32))
    def begin(self, number: int) -> None:
        """Start the daemon for the first time."""
        self.world = World(number, self._folder, self.template)
        self.world.open()
        self._pass(2 * MINUTE)

    @rule(minutes=_MINUTES)
    def time_passes(self, minutes: int) -> None:
        """Advance the time."""
        self._pass(minutes * MINUTE)

    @rule(
        kind=st.sampled_from(["plain", "late", "unpolled", "future", "absurd", "old"]),
        count=st.integers(1, 25),
    )
    def events_happen(self, kind: str, count: int) -> None:
        """Add events to those that are generated over time."""
        self._world.okta.create_events(kind, count)
        self._count(f"events: {kind}")

    @rule(trouble=st.sampled_from(("none", *TROUBLES)), minutes=_MINUTES)
    def okta_answers_badly(self, trouble: str, minutes: int) -> None:
        """Set Okta's answer to every request until it is changed again."""
        self._world.okta.trouble = trouble
        self._count(f"okta: {trouble}")
        self._pass(minutes * MINUTE)

    @rule(
        oddities=st.lists(
            st.sampled_from(["short", "empty", "no link", "foreign link", "twice", "junk"]),
            min_size=1,
            max_size=3,
        )
    )
    def okta_answers_oddly(self, oddities: list[str]) -> None:
        """Make Okta's next answers faulty."""
        self._world.okta.oddities = oddities
        self._count("okta: odd answers")
        self._pass(MINUTE)

    @rule()
    def okta_refuses_cursors(self) -> None:
        """Make Okta refuse every cursor that it has returned so far."""
        self._world.okta.forget_cursors()
        self._count("okta: cursors forgotten")

    @rule(
        jump=st.sampled_from(_JUMPS),
        minutes=_MINUTES,
    )
    def clock_jumps(self, jump: timedelta, minutes: int) -> None:
        """Set the wall clock ahead or back, or correct it."""
        self._world.clocks.set_wall(jump)
        self._count(
            "clock: set right" if not jump else "clock: ahead" if jump > timedelta() else "clock: behind"
        )
        self._pass(minutes * MINUTE)

    @rule(mode=st.sampled_from(Storage.MODES), minutes=_MINUTES)
    def database_has_trouble(self, mode: str, minutes: int) -> None:
        """Set the condition of the database until it is changed again."""
        self._world.storage.mode = mode
        self._count(f"database: {mode}")
        self._pass(minutes * MINUTE)

    @rule(statements=st.integers(0, 60))
    def database_fails_once(self, statements: int) -> None:
        """Make one of the next statements fail."""
        self._world.storage.fails_in = statements
        self._count("database: one statement fails")
        self._pass(MINUTE)

    @rule(name=st.sampled_from(RECEIVERS), mode=st.sampled_from(Receiver.MODES))
    def receiver_changes(self, name: str, mode: str) -> None:
        """Set the condition of a receiver until it is changed again."""
        self._world.receivers[name].become(mode)
        self._count(f"receiver: {mode}")

    @rule()
    def process_is_killed(self) -> None:
        """Kill the daemon at any point."""
        self._world.kill()
        self._count("process: killed")
        self._pass(MINUTE)

    @rule(calls=st.integers(0, 40))
    def process_is_killed_beside_a_transaction(self, calls: int) -> None:
        """Kill the daemon right before a transaction, or right after its commit."""
        self._world.kill(calls)
        self._count("process: killed beside a transaction")
        self._pass(MINUTE)

    @rule()
    def process_is_stopped(self) -> None:
        """Stop the daemon as a service manager does."""
        assert self._world.stop() <= STOP_WITHIN_S
        self._count("process: stopped")
        self._pass(MINUTE)

    @rule()
    def process_is_reloaded(self) -> None:
        """Reload the daemon's configuration."""
        self._world.reload()
        self._count("process: reloaded")
        self._pass(MINUTE)

    @rule(back=st.integers(5, 55), telling=st.booleans())
    def the_past_is_read(self, back: int, telling: bool) -> None:
        """Run a backfill while the daemon runs."""
        world = self._world
        now = world.clocks.true
        since, until = now - back * MINUTE, now - MINUTE
        world.okta.catch_up()
        there = {one.uuid for one in world.okta.log if one.proxied and since <= one.published < until}
        ended = world.backfill(since=since, until=until, notify=telling)
        self._count("backfill: finished" if ended else "backfill: failed")
        if ended and world.okta.trouble == "none":
            assert there <= self._matched().keys()

    @invariant()
    def nothing_is_duplicated(self) -> None:
        """Check that no receiver got a duplicate."""
        if self.world is None:
            return
        wrong = self.world.storage.ask(
            "SELECT a.id, a.event_count, count(m.event_uuid) FROM alerts a LEFT JOIN matches m ON m.alert_id = a.id"
            " GROUP BY a.id HAVING a.event_count != count(m.event_uuid)"
        )
        assert wrong == []
        for receiver in self.world.receivers.values():
            told: dict[str, object] = {}
            for _, message in receiver.taken:
                assert told.setdefault(message.id, _content(message.body)) == _content(message.body)

    @invariant()
    def no_outage_is_silent(self) -> None:
        """Check that a receiver got the reason if no event has been alerted for `silence.after`."""
        if self.world is None:
            return
        world = self.world
        now = world.clocks.true
        for name, receiver in world.receivers.items():
            if receiver.mode != "takes":
                continue
            since = max(world.started_at, receiver.accepting_since, receiver.alerted_at or world.started_at)
            alerted = self._alerted(name)
            waiting = [
                one
                for one in world.okta.log
                if one.proxied and one.polled and one.persisted > since and one.uuid not in alerted
            ]
            first = min((one.persisted for one in waiting), default=now)
            if now - first <= AFTER + _GRACE:
                continue
            active_alarms = {about for one in world.receivers.values() for about in one.active_alarms}
            active_alarms = {(what, who) for what, who in active_alarms if what != "notifier" or who == name}
            assert active_alarms, f"{name} heard nothing since {since}, now {now}: {_shown(world)}"
            self._count("law: blind, and told so")

    def teardown(self) -> None:
        """Repair everything, and check that nothing is missing."""
        try:
            if self.world is not None and sys.exc_info()[0] is None:
                self._settle(self.world)
                self._collect(self.world)
        finally:
            if self.world is not None:
                self.world.close()
            shutil.rmtree(self._folder)

    def _settle(self, world: World) -> None:
        world.okta.trouble, world.okta.oddities = "none", []
        world.storage.mode, world.storage.fails_in = "well", None
        world.clocks.set_wall(timedelta())
        for receiver in world.receivers.values():
            receiver.become("takes")
        # Only usable events end the alarm about unusable ones, so wait until there are enough.
        for _ in range(_PATIENCE):
            if not self._events_are_unusable():
                break
            self._pass(_SETTLED)
        world.okta.quiet = True
        self._pass(2 * _SETTLED)
        for _ in range(_PATIENCE):
            if not self._unsettled():
                break
            self._pass(_SETTLED)
        missing = self._unsettled()
        assert not missing, (
            f"{len(missing)} differences after everything was repaired: {missing[:5]}; {_shown(world)}"
        )
        self._count("law: nothing lost")

    def _events_are_unusable(self) -> bool:
        rows = self._world.storage.ask("SELECT recent_elements, recent_rejected FROM orgs")
        return any(
            RejectedShare(elements=elements, rejected=rejected).too_large for elements, rejected in rows
        )

    def _unsettled(self) -> list[str]:
        """Return the differences from the expected end state."""
        world = self._world
        oldest = world.clocks.true - _KEPT
        wanted = {one.uuid for one in world.okta.log if one.proxied and one.published > oldest}
        missing = [f"lost: {uuid}" for uuid in sorted(wanted - self._matched().keys())]
        for name, receiver in world.receivers.items():
            missing += [f"not alerted at {name}: {uuid}" for uuid in sorted(wanted - self._alerted(name))]
            missing += [f"not over at {name}: {about}" for about in receiver.active_alarms]
        pending = world.storage.ask(
            "SELECT id, notifier, last_error FROM notifications WHERE state = 'pending'"
        )
        return missing + [f"pending: {row}" for row in pending]

    def _matched(self) -> dict[str, int]:
        return dict(self._world.storage.ask("SELECT event_uuid, alert_id FROM matches"))

    def _alerted(self, name: str) -> set[str]:
        """Return the events whose alerts were sent to a notifier."""
        rows = self._world.storage.ask(
            "SELECT m.event_uuid FROM matches m WHERE EXISTS (SELECT 1 FROM notifications n"
            " LEFT JOIN notifications d ON d.id = n.digest_id WHERE n.alert_id = m.alert_id AND n.notifier = ?"
            " AND (n.state IN ('sent', 'dead') OR d.state IN ('sent', 'dead')"
            " OR (n.state = 'digested' AND d.id IS NULL)))",  # digests are pruned once they are sent
            name,
        )
        return {uuid for (uuid,) in rows}

    @property
    def _world(self) -> World:
        assert self.world is not None
        return self.world

    def _pass(self, time: timedelta) -> None:
        self._world.advance(time)
        self._count("minutes", time // MINUTE)

    def _count(self, what: str, number: int = 1) -> None:
        self._world.covered[what] += number

    def _collect(self, world: World) -> None:
        self.covered.update(world.covered)
        self.covered.update(world.okta.covered)
        self.covered.update({f"log: {line}": number for line, number in world.lines.items()})
        self.covered["seeds"] += 1
        self.covered["events"] += len(world.okta.log)


def _content(body: dict[str, object]) -> object:
    """Return the parts of a message that are the same in each attempt."""
    alert = body.get("alert")
    return body["type"], alert["id"] if isinstance(alert, dict) else None


def _shown(world: World) -> str:
    return f"okta {world.okta.trouble}, database {world.storage.mode}, {dict(world.lines)}"


@pytest.fixture
def covered(tmp_path: Path) -> Iterator[Counter[str]]:
    """Yield a counter of what the runs cover."""
    memory = Path("/dev/shm")  # noqa: S108 -- in memory, for the test's own folder
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else tmp_path))
    make_template(folder / "template.db")
    Simulation.template, Simulation.covered = folder / "template.db", Counter()
    yield Simulation.covered
    shutil.rmtree(folder)


@pytest.mark.parametrize("block", range(-(-SEEDS // _BLOCK)))
def test_the_properties_hold_with_any_faults(block: int, covered: Counter[str]) -> None:
    """Nothing is lost, nothing is duplicated, and no outage is silent."""
    count = min(_BLOCK, SEEDS - block * _BLOCK)
    run = settings(
        max_examples=count,
        stateful_step_count=_STEPS,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # shrinking takes many minutes, and the failed steps are printed anyway
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(block)(Simulation), settings=run)
    print(*(f"{number:8} {what}" for what, number in sorted(covered.items())), sep="\n")  # noqa: T201 -- `make soak` shows what passing tests print
