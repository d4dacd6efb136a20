"""Late events, which appear behind the position that polls have reached.

Okta documents that a poll skips no event, and also that events can arrive late. A late event is inserted into the
persistence order just before the position that polls have reached. Only a bounded request returns it, or a new poll
that starts earlier.
"""

import heapq
import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .record import GeneratedEvent


@dataclass(frozen=True)
class Late:
    """An event that appears after the most advanced poll has passed its position."""

    event: dict[str, Any] | bytes | GeneratedEvent


def delay(
    stream: Iterable[tuple[datetime, dict[str, Any] | bytes | GeneratedEvent]],
    *,
    share: float,
    by: timedelta,
    seed: int,
) -> Iterator[tuple[datetime, dict[str, Any] | bytes | GeneratedEvent | Late]]:
    """Delay a random share, from 0 to 1, of a stream's events by up to `by`, and make them `Late`.

    The stream can be endless. The result is ordered by the time at which an event appears.
    """
    rng = random.Random(seed)  # noqa: S311 -- repeatable, not secret
    serial = itertools.count()
    waiting: list[tuple[datetime, int, Late]] = []
    for moment, event in stream:
        while waiting and waiting[0][0] <= moment:
            appears, _, late = heapq.heappop(waiting)
            yield appears, late
        if rng.random() < share:
            heapq.heappush(waiting, (moment + by * rng.random(), next(serial), Late(event)))
        else:
            yield moment, event
    while waiting:
        appears, _, late = heapq.heappop(waiting)
        yield appears, late
