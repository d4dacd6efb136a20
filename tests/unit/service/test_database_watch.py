"""A failing database causes one alarm without the outbox, and one message when it is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.notify.channel import DeliveryError
from oktawatch.notify.message import Message
from oktawatch.service.alarm_file import AlarmFile
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.database_watch import DatabaseWatch
from oktawatch.service.presence import Presence
from oktawatch.store.database import Database
from oktawatch.store.errors import DamagedDatabaseError, StoreError, WriteFailedError
from tests.support.databases import NOW, create_schema

AFTER = timedelta(minutes=15)
LOCKED = StoreError("the database refused (oktawatch.db): database is locked")
FULL = WriteFailedError("the database refused (oktawatch.db): database or disk is full")


class Receiver:
    """A channel that refuses some messages, and records the others."""

    def __init__(self, *refusals: Exception) -> None:
        self.refusals = list(refusals)
        self.taken: list[Message] = []

    async def send(self, message: Message) -> None:
        """Accept the message, or fail."""
        if self.refusals:
            raise self.refusals.pop(0)
        self.taken.append(message)

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""

    @property
    def types(self) -> list[str]:
        """The types of the accepted messages."""
        return [message.type for message in self.taken]


class World:
    """A database watch over an empty database in memory, with a clock that the test advances."""

    def __init__(self, folder: Path, *receivers: Receiver) -> None:
        self.seconds = 0.0
        self.checking = True
        """Whether a silence check follows each round."""
        self.lost = 0
        self.database = DatabaseExecutor("sqlite://")
        self.receivers = receivers or (Receiver(),)
        self.channels = {f"soc{number}": receiver for number, receiver in enumerate(self.receivers)}
        self._folder = folder
        self.start()

    def start(self) -> None:
        """Start the first process."""
        self.trouble = DatabaseTrouble(lost=self._lose, clock=self._clock)
        self.alarm_file = AlarmFile(self._folder / "oktawatch.db.alarm")
        self.watch = DatabaseWatch(
            self.database,
            self.trouble,
            self.channels,
            alarm_file=self.alarm_file,
            write=Presence("host", self.database.now).write,
            after=AFTER,
            now=lambda: NOW + timedelta(seconds=self.seconds),
            clock=self._clock,
        )

    async def restart(self) -> None:
        """Kill the process, and start the next one."""
        await self.watch.close()
        self.alarm_file.close()
        self.start()

    async def live(self, minutes: float, error: Exception | None = None) -> None:
        """Advance the time, with a round every 30 s; ``error`` is the error of each page."""
        for _ in range(int(minutes * 2)):
            self.seconds += 30
            if error is not None:
                self.trouble.failed(error)
            await self.watch.send_alarms()
            if self.checking:
                self.watch.silence_checked()

    def _clock(self) -> float:
        return self.seconds

    def _lose(self) -> None:
        self.lost += 1


@pytest.fixture
async def worlds() -> AsyncIterator[list[World]]:
    """Collect worlds, and close their databases."""
    made: list[World] = []
    yield made
    for world in made:
        world.database.close()
        await world.watch.close()
        world.alarm_file.close()


@pytest.fixture
async def world(worlds: list[World], tmp_path: Path) -> World:
    """Return a world with one receiver."""
    worlds.append(World(tmp_path))
    return worlds[0]


async def test_trouble_raises_one_alarm_and_one_end(world: World) -> None:
    """The alarm has its start and reason, and the message about its end has the times of start and end."""
    (soc,) = world.receivers
    await world.live(15, FULL)
    assert soc.taken == []
    await world.live(0.5, FULL)
    assert soc.types == ["silence.raised"]
    await world.live(60, FULL)
    world.trouble.wrote()
    await world.live(60)

    raised, over = soc.taken
    assert (
        raised.heading
        == "[ALARM] oktawatch has been unable to write to its database since 2026-11-02 12:00 UTC"
    )
    assert "database or disk is full" in raised.plain()
    assert raised.body["silence"]["about"][0]["what"] == "database"
    assert over.heading == "[OVER] oktawatch can write to its database again after 1 h 16 min"
    assert over.body["silence"]["about"][0].keys() == {"what", "name", "since", "until"}


async def test_the_end_waits_for_a_silence_check(world: World) -> None:
    """The alarm ends only after a silence check that completed after the database worked again."""
    (soc,) = world.receivers
    await world.live(20, FULL)
    world.trouble.wrote()
    world.checking = False
    await world.live(20)
    assert soc.types == ["silence.raised"]
    world.checking = True
    await world.live(1)
    assert soc.types == ["silence.raised", "silence.over"]


@pytest.mark.parametrize("rounds", [0, 4])
async def test_the_end_waits_for_a_silence_check_after_the_last_failure(world: World, rounds: int) -> None:
    """A silence check doesn't count if the database fails again before the alarm has ended."""
    (soc,) = world.receivers
    await world.live(20, FULL)
    world.trouble.wrote()
    world.watch.silence_checked()
    world.checking = False
    world.seconds += 10
    world.trouble.failed(FULL)
    await world.live(rounds / 2, FULL)
    world.trouble.wrote()
    await world.live(20)
    assert soc.types == ["silence.raised"]
    world.checking = True
    await world.live(1)
    assert soc.types == ["silence.raised", "silence.over"]


async def test_a_short_trouble_raises_no_alarm(world: World) -> None:
    """A short failure, such as a backup's lock, raises no alarm."""
    for _ in range(5):
        await world.live(14, LOCKED)
        world.trouble.wrote()
        await world.live(1)
    assert world.receivers[0].taken == []


async def test_a_second_trouble_raises_another_alarm(world: World) -> None:
    """A second outage of the database raises another alarm."""
    for _ in range(2):
        await world.live(20, LOCKED)
        world.trouble.wrote()
        await world.live(1)
    assert world.receivers[0].types == ["silence.raised", "silence.over"] * 2


async def test_a_refusing_receiver_gets_the_alarm_again(worlds: list[World], tmp_path: Path) -> None:
    """A refusing receiver gets the alarm again under the same key, and the end only if it got the alarm."""
    worlds.append(
        World(
            tmp_path,
            Receiver(),
            Receiver(DeliveryError("no"), TimeoutError(), RuntimeError("a bug")),
            Receiver(*[DeliveryError("no")] * 1_000),
            Receiver(DeliveryError("gone", final=True)),
        )
    )
    await worlds[0].live(30, LOCKED)
    worlds[0].trouble.wrote()
    await worlds[0].live(1)
    first, second, third, fourth = worlds[0].receivers
    assert first.types == second.types == ["silence.raised", "silence.over"]
    assert (third.types, fourth.types) == ([], ["silence.over"])
    assert len(third.refusals) > 900


async def test_a_successful_probe_ends_a_lock_but_not_a_full_disk(world: World) -> None:
    """A successful probe ends trouble with a lock, but not with a full disk, where its small row may fit although no page does."""
    await world.database.run(create_schema)
    for error, failures in ((LOCKED, 0), (FULL, 1)):
        world.trouble.failed(error, job="poll acme")
        await world.watch.probe()
        assert world.trouble.failures == failures


async def test_an_unexpected_error_of_the_probe_raises_the_alarm(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that the store does not know is trouble with the database, too. Its text is logged once, and not sent."""

    def fail(_: Database) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(world.watch, "_write", fail)
    with capture_logs() as logs:
        for _ in range(40):
            world.seconds += 30
            await world.watch.round()
    (message,) = world.receivers[0].taken
    assert message.type == "silence.raised"
    assert "RuntimeError, see the log" in world.trouble.error
    assert "new thread" not in repr(message) + world.trouble.error
    assert [str(line["exc_info"]) for line in logs if line["event"] == "job_failed"] == [
        "can't start new thread"
    ]


async def test_an_unanswered_probe_is_trouble(world: World) -> None:
    """A probe without a response is a failure, but a short wait in the queue is not."""
    release = asyncio.Event()
    loop = asyncio.get_running_loop()
    stuck = asyncio.create_task(
        world.database.run(lambda _: asyncio.run_coroutine_threadsafe(release.wait(), loop).result())
    )
    await asyncio.sleep(0)
    world.watch.after = timedelta(seconds=0.4)
    await world.watch.probe()
    assert world.trouble.failures == 0
    world.seconds += 60
    await world.watch.probe()
    await world.watch.send_alarms()
    assert "locked or silent" in world.receivers[0].taken[0].plain()
    release.set()
    await stuck


async def test_a_prepared_start_waits_for_the_database(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start retries until the database can be written."""

    async def pass_at_once(_seconds: float) -> None:
        """Return at once."""

    ends: list[Exception | None] = [LOCKED, FULL, None]

    async def prepare() -> None:
        if (end := ends.pop(0)) is not None:
            raise end

    monkeypatch.setattr("oktawatch.service.database_watch.asyncio.sleep", pass_at_once)
    await world.watch.bring_up(prepare)
    assert (ends, world.trouble.failures) == ([], 0)


async def test_a_lost_database_ends_the_daemon(world: World) -> None:
    """A lost database ends the daemon once and sends an alarm at once, whichever job detects it."""
    for _ in range(2):
        world.trouble.failed(DamagedDatabaseError("the database is damaged (oktawatch.db)"))
    await world.watch.send_last_alarm()
    assert world.lost == 1
    last = world.receivers[0].taken[0].plain()
    assert "is damaged" in last
    assert "Restore a backup" in last
    assert "polling continues where it stopped" not in last


async def test_the_next_process_ends_the_alarm_once(world: World) -> None:
    """After a process was killed during an alarm, the next process ends the alarm once it has written."""
    (soc,) = world.receivers
    await world.live(20, LOCKED)
    await world.restart()
    await world.live(60)
    assert soc.types == ["silence.raised"]
    await world.database.run(create_schema)
    await world.watch.probe()
    await world.live(5)
    assert soc.types == ["silence.raised", "silence.over"]
    assert soc.taken[1].heading == "[OVER] oktawatch can write to its database again after 1 h 21 min"
    for _ in range(2):
        await world.restart()
        await world.watch.probe()
        await world.live(60)
    assert soc.types == ["silence.raised", "silence.over"]


async def test_the_next_process_does_not_repeat_the_alarm(worlds: list[World], tmp_path: Path) -> None:
    """If the database still fails, only the notifiers that have not received the alarm get it."""
    worlds.append(World(tmp_path, Receiver(), Receiver(*[DeliveryError("no")] * 12)))
    soc, mail = worlds[0].receivers
    await worlds[0].live(20, LOCKED)
    assert (soc.types, mail.types) == (["silence.raised"], [])
    await worlds[0].restart()
    await worlds[0].live(20, LOCKED)
    assert soc.types == mail.types == ["silence.raised"]
    assert soc.taken[0].id == mail.taken[0].id
    worlds[0].trouble.wrote("probe")
    await worlds[0].live(1)
    assert soc.types == mail.types == ["silence.raised", "silence.over"]


@pytest.mark.parametrize("sent", ["silence.raised", "silence.over"])
async def test_the_end_is_sent_to_receivers_of_a_process_that_died(world: World, sent: str) -> None:
    """A receiver that got a message from a process that died gets the end, and can recognize a repeated message by its id."""
    (soc,) = world.receivers
    taken = soc.taken

    class DeadError(BaseException):
        """The end of the process."""

    async def take_and_die(message: Message) -> None:
        taken.append(message)
        if message.type == sent:
            raise DeadError

    world.channels["soc0"] = dying = Receiver()
    dying.send = take_and_die  # type: ignore[method-assign]  # the test's own channel
    with suppress(DeadError):
        await world.live(20, LOCKED)
        world.trouble.wrote()
        await world.live(1)
    assert [message.type for message in taken][-1] == sent
    world.channels["soc0"] = soc
    await world.restart()
    world.trouble.wrote("probe")
    await world.live(1)
    messages = {message.id: message.type for message in taken}
    assert list(messages.values()) == ["silence.raised", "silence.over"]
    await world.restart()
    world.trouble.wrote("probe")
    await world.live(1)
    assert {message.id for message in taken} == messages.keys()


async def test_the_alarm_of_a_removed_notifier_ends_without_a_message(world: World) -> None:
    """The next process ends the alarm even if its only notifier was removed."""
    await world.live(20, LOCKED)
    world.channels["pager"] = pager = Receiver()
    del world.channels["soc0"]
    for _ in range(2):
        await world.restart()
        world.trouble.wrote("probe")
        await world.live(1)
    assert pager.taken == []
    assert world.alarm_file.alarm is None


async def test_the_refused_page_ends_the_alarm_of_an_earlier_process(world: World) -> None:
    """An earlier process's alarm ends when the refused page is written, and not with the small row of the probe."""
    (soc,) = world.receivers
    world.trouble.failed(FULL, job="poll acme")
    await world.live(20, FULL)
    await world.restart()
    world.trouble.wrote("probe")
    await world.live(5)
    assert soc.types == ["silence.raised"]
    world.trouble.wrote("poll acme")
    await world.live(1)
    assert soc.types == ["silence.raised", "silence.over"]


async def test_a_daemon_that_cannot_start_sends_its_last_alarm_once(world: World) -> None:
    """A daemon that is restarted again and again sends its last alarm once, and again only for another reason."""
    (soc,) = world.receivers
    for error in ("is damaged", "is damaged", "is damaged", "was deleted"):
        await world.restart()
        world.trouble.failed(DamagedDatabaseError(f"the database {error}"))
        await world.watch.send_last_alarm()
    assert [message.body["silence"]["about"][0]["error"] for message in soc.taken] == [
        "the database is damaged",
        "the database was deleted",
    ]
