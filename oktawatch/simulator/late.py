"""Events that come late: they appear behind what polls have already returned.

Okta says that a poll leaves nothing out, and that an event can still come late. A late event takes its place in
the order of persistence just before the place that polls have reached, so that each of them has passed it: only a
bounded request finds it, or a poll that begins anew further back.
"""

import heapq
import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .record import Drawn


@dataclass(frozen=True)
class Late:
    """An event that appears when every poll has passed its place."""

    event: dict[str, Any] | bytes | Drawn


def delay(
    stream: Iterable[tuple[datetime, dict[str, Any] | bytes | Drawn]],
    *,
    share: float,
    by: timedelta,
    seed: int,
) -> Iterator[tuple[datetime, dict[str, Any] | bytes | Drawn | Late]]:
    """Let a share, from 0 to 1, of a stream's events appear late: up to `by` after their time, drawn from a seed.

    The stream may be endless; its order, by the time at which an event appears, is kept.
    """
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
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
