"""A notification channel that accepts, refuses or loses messages."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from oktawatch.notify.channel import DeliveryError
from oktawatch.notify.message import Message


@dataclass
class Receiver:
    """A channel that records the messages it accepts."""

    now: Callable[[], datetime]
    rng: random.Random
    mode: str = "takes"
    accepting_since: datetime = field(init=False)
    taken: list[tuple[datetime, Message]] = field(default_factory=list)
    covered: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    """How often the daemon has been killed so far."""

    MODES = ("takes", "refuses", "fails one in four", "hangs", "takes, and doesn't say so", "raises", "asks for a delay")  # fmt: skip

    def __post_init__(self) -> None:
        """Start in the mode ``takes``."""
        self.accepting_since = self.now()

    def become(self, mode: str) -> None:
        """Change the mode."""
        if mode == "takes" and self.mode != "takes":
            self.accepting_since = self.now()
        self.mode = mode

    @property
    def alerted_at(self) -> datetime | None:
        """The time of the last accepted message about alerts."""
        return next((at for at, one in reversed(self.taken) if not one.type.startswith("silence.")), None)

    @property
    def active_alarms(self) -> set[tuple[str, str]]:
        """The subjects of the received alarms that have not ended."""
        raised: Counter[tuple[str, str]] = Counter()
        for message in {message.id: message for _, message in self.taken}.values():
            if message.type.startswith("silence."):
                # Count them, because a retried alarm can arrive after the message about its end.
                change = 1 if message.type == "silence.raised" else -1
                for subject in message.body["silence"]["about"]:
                    raised[subject["what"], subject["name"]] += change
        return {subject for subject, count in raised.items() if count > 0}

    async def send(self, message: Message) -> None:
        """Accept or refuse a message, according to the mode."""
        kills = self.kills
        await asyncio.sleep(0.05)
        mode = self.mode
        if kills != self.kills:
            await asyncio.Event().wait()  # the sender is dead
        if mode == "hangs":
            await asyncio.Event().wait()
        if mode == "refuses" or (mode == "fails one in four" and self.rng.random() < 0.25):
            raise DeliveryError("no")
        if mode == "asks for a delay":
            raise DeliveryError("not now", retry_after=timedelta(seconds=self.rng.randrange(1, 240)))
        if mode == "raises":
            raise ValueError("a bug in the channel")
        self.taken.append((self.now(), message))
        self.covered[f"message {message.type}"] += 1
        if mode == "takes, and doesn't say so":
            await asyncio.Event().wait()

    async def close(self) -> None:
        """Do nothing: there is no connection."""
