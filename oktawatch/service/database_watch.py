"""Send alarms about the database without using the database.

All other alarms are rows of the outbox. If the database can't be written, because its disk is full, its server is
down or silent, or another program holds a lock, the outbox can't be used. So this alarm is sent to the notifiers
directly: once when no write has succeeded for `silence.after`, and once when writing works again.

Meanwhile, no alarm about a silent org can be raised. So this alarm ends only after a silence check has completed
since the last failure: otherwise an org could be silent with no active alarm.

The alarm and the notifiers that have received it are also stored in a file (`service/alarm_file.py`). The next daemon
doesn't repeat the alarm, and sends its end to the same notifiers once the database works. If the process dies after
sending a message, the repeated message has the same id.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

import structlog
from msgspec.structs import replace

from oktawatch.engine import channel_calls
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.tasks import abandon
from oktawatch.model.notification import AlarmState
from oktawatch.model.timestamps import to_text, utc_now
from oktawatch.notify.alarms import alarm_message
from oktawatch.notify.channel import Channel, DeliveryError
from oktawatch.notify.message import Message
from oktawatch.service.alarm_file import AlarmFile, DatabaseAlarm
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.failure_log import backoff
from oktawatch.store.database import Database
from oktawatch.store.errors import StoppedError, StoreError

_log: Any = structlog.get_logger(__name__)

_PROBE = "probe"
_PROBE_WITHIN = timedelta(seconds=5)
"""The longest time that a round waits for the probe. The next round then waits for the same probe."""
_OVERDUE = timedelta(seconds=45)
"""A probe without a response for this time is a failure. The pages of many orgs can precede the probe in the queue."""
_RETRY_INTERVAL = timedelta(seconds=20)
"""The delay before the second attempt to bring the database up. It doubles with each failure, up to 5 min."""
_LAST_MESSAGE_TIMEOUT = timedelta(seconds=10)

Channels = Mapping[str, Channel]
"""The notifiers' channels by the notifiers' names."""


class DatabaseWatch:
    """Probes the database and sends alarms about it. A daemon has one instance, which outlives reloads."""

    def __init__(
        self,
        database: DatabaseExecutor,
        trouble: DatabaseTrouble,
        channels: Channels,
        *,
        alarm_file: AlarmFile,
        write: Callable[[Database], None],
        after: timedelta,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raise the alarm if no write has succeeded for longer than ``after``.

        An alarm in ``alarm_file`` was raised by an earlier process. ``write`` writes a row to test the database, and may
        raise StoreError.
        """
        self.trouble = trouble
        self.after = after
        self._channels = channels
        self._database = database
        self._write = write
        self._now = now
        self._clock = clock
        self._probe: asyncio.Task[None] | None = None
        self._probed_at = self._probe_began = 0.0
        self._message: Message | None = None
        self._alarm_file = alarm_file
        self._alarm = alarm_file.alarm
        """The alarm, until all notifiers to which it may have been sent have received its end."""
        self._over = False
        """Whether the alarm has ended."""
        self._informed: set[str] = set()
        """Notifiers that received the current message, or refused it for good."""
        self._silence_checked_at = -math.inf
        """When the latest silence check completed while the database worked, as a `DatabaseTrouble.moment`."""
        if self._alarm is not None:
            trouble.expect_writes({_PROBE, *self._alarm.refused})

    def configure(self, channels: Channels, *, after: timedelta) -> None:
        """Use these settings from now on, after a reload."""
        self._channels = channels
        self.after = after

    async def round(self) -> None:
        """Probe the database, and send alarms. Never fails."""
        await self.probe()
        await self.send_alarms()

    def silence_checked(self) -> None:
        """Record that a silence check has completed, so that the alarm may end unless the database fails again."""
        if self.trouble.works:
            self._silence_checked_at = self.trouble.moment()

    async def send_alarms(self) -> None:
        """Raise or end the alarm, and send the current message to the notifiers that have not received it."""
        duration = self.trouble.duration
        if self._alarm is None or self._over:
            if duration > self.after:
                self._raise(duration)
        elif self.trouble.works and self._silence_checked_at > self.trouble.failed_at:
            self._end(self._alarm)
        elif duration > self.after and self._message is None:
            self._continue(self._alarm)
        await self._send()
        await self._alarm_file.write(self._alarm)  # again, if it failed before

    async def send_last_alarm(self) -> None:
        """Send the alarm that the daemon exits because of its database.

        Notifiers that received this alarm from an earlier process do not get it again.
        """
        alarm = self._alarm
        if alarm is None or self._over or alarm.error != self.trouble.error:
            self._raise(self.trouble.duration)
        elif self._message is None:
            self._continue(alarm)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_MESSAGE_TIMEOUT.total_seconds()):
                await self._send()

    async def probe(self) -> None:
        """Test whether the database can be written.

        Other jobs may have nothing to write for a while, and a failure would go unnoticed.
        """
        if self._probe is None:
            self._probe = asyncio.create_task(self._database.run(self._write))
            self._probed_at, self._probe_began = self._clock(), self.trouble.moment()
        wait_s = min(_PROBE_WITHIN, self.after / 4).total_seconds()
        done, _ = await asyncio.wait([self._probe], timeout=wait_s)
        if not done:
            waited_s = self._clock() - self._probed_at
            if waited_s > min(_OVERDUE, self.after / 2).total_seconds():
                place = self._database.database.place
                error = StoreError(
                    f"the database is locked or silent ({place}): no answer for {waited_s:.0f} s"
                )
                self.trouble.failed(error)
            return
        probe, self._probe = self._probe, None
        try:
            probe.result()
        except (StoppedError, asyncio.CancelledError):
            return
        except StoreError as failure:
            self.trouble.failed(failure, job=_PROBE)
        except Exception as failure:  # noqa: BLE001 -- a database that fails in an unknown way needs the alarm, too
            # The text of an unexpected error could contain a secret, so it stays in the log, which masks secrets.
            place = self._database.database.place
            error = StoreError(f"an unexpected error ({place}): {type(failure).__name__}, see the log")
            if self.trouble.error != str(error):
                _log.error("job_failed", job="database", exc_info=failure)
            self.trouble.failed(error, job=_PROBE)
        else:
            self.trouble.wrote(_PROBE, began=self._probe_began)

    async def bring_up(self, prepare: Callable[[], Awaitable[None]]) -> None:
        """Call ``prepare`` until it succeeds. Raises UnusableDatabaseError, ConfigError or StoppedError."""
        while True:
            try:
                await prepare()
            except StoppedError:
                raise
            except StoreError as error:
                self.trouble.failed(error)
                if self.trouble.fatal is not None:
                    raise
                await asyncio.sleep(backoff(self.trouble.failures, _RETRY_INTERVAL).total_seconds())
            else:
                self.trouble.wrote()
                return

    async def close(self) -> None:
        """Cancel the probe. The database must have been stopped."""
        if self._probe is not None:
            await abandon(self._probe)
            self._probe = None

    def _raise(self, duration: timedelta) -> None:
        alarm = DatabaseAlarm(id=uuid4(), since=self._now() - duration, error=self.trouble.error)
        self._alarm, self._over = alarm, False
        self._informed = set()
        self._compose(alarm.id, AlarmState.RAISED, alarm, error=alarm.error)
        _log.error("database_alarm_raised", since=alarm.since, error=alarm.error)

    def _continue(self, alarm: DatabaseAlarm) -> None:
        """Send the alarm of an earlier process to the notifiers that may not have received it."""
        self._informed = {name for name, received in alarm.notifiers.items() if received}
        self._compose(alarm.id, AlarmState.RAISED, alarm, error=self.trouble.error)

    def _end(self, alarm: DatabaseAlarm) -> None:
        self._over = True
        self._informed = set()
        self._compose(uuid5(alarm.id, "over"), AlarmState.OVER, alarm, until=to_text(self._now()))
        _log.info("database_alarm_over")

    def _compose(self, message_id: UUID, state: AlarmState, alarm: DatabaseAlarm, **details: str) -> None:
        place, since = self._database.database.place, to_text(alarm.since)
        about: dict[str, Any] = {"what": "database", "name": place, "since": since, **details}
        if state is AlarmState.RAISED and self.trouble.fatal is not None:
            about["lost"] = True
        self._message = alarm_message(str(message_id), {"state": state, "about": [about]})

    async def _send(self) -> None:
        """Send the current message to the notifiers that lack it.

        The end of the alarm goes only to notifiers that may have received the alarm.
        """
        if self._message is None or self._alarm is None:
            return
        channels, message = self._channels, self._message
        audience = self._alarm.notifiers.keys() & channels.keys() if self._over else channels.keys()
        missing = [name for name in channels if name in audience and name not in self._informed]
        if not self._over:
            await self._save(self._alarm, dict.fromkeys(missing, False) | self._received)
        await asyncio.gather(*(self._send_to(name, channels[name], message) for name in missing))
        if not self._over:
            await self._save(self._alarm, self._received)
        elif audience <= self._informed:
            self._message = self._alarm = None
        else:
            remaining = {
                name: received
                for name, received in self._alarm.notifiers.items()
                if name not in self._informed
            }
            await self._save(self._alarm, remaining)

    @property
    def _received(self) -> dict[str, bool]:
        return dict.fromkeys(sorted(self._informed), True)

    async def _save(self, alarm: DatabaseAlarm, notifiers: dict[str, bool]) -> None:
        self._alarm = replace(alarm, notifiers=notifiers, refused=self.trouble.refused)
        await self._alarm_file.write(self._alarm)

    async def _send_to(self, name: str, channel: Channel, message: Message) -> None:
        try:
            await channel_calls.send(channel, message, notifier=name)
        except DeliveryError as error:
            _log.warning("delivery_failed", notifier=name, notification=message.id, error=str(error))
            if not error.final:
                return
        self._informed.add(name)
