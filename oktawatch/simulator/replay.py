"""Events from a file with one JSON object per line, instead of invented events."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from . import times


class EventsFileError(Exception):
    """An unusable events file. The message is one line with the file and, for a wrong line, its number."""


def load_events(path: Path, *, now: datetime, keep_times: bool = False) -> list[tuple[datetime, bytes]]:
    """Return pairs of a persistence time and an event, in the order of the file. Raises EventsFileError.

    All `published` times are shifted by the same amount, so that the newest is `now`. With `keep_times`, every
    event is served unchanged, and an event published in the future is persisted now.
    """
    lines = list(_lines(path))
    present = times.to_ms(now)
    shift = 0 if keep_times or not lines else present - max(published for _, _, published in lines)
    events = []
    persisted = 0
    try:
        for body, event, published in lines:
            persisted = max(persisted, min(published + shift, present))
            shifted = body if keep_times else _dump(event | {"published": times.to_text(published + shift)})
            events.append((times.from_ms(persisted), shifted))
    except OverflowError:
        raise EventsFileError(f"times too far apart to shift to now ({path}): use --keep-times") from None
    return events


def _lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any], int]]:
    """Yield the bytes, the parsed event and the `published` time of each line that is not blank."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EventsFileError(f"can't read the events ({path}): {error.strerror}") from None
    for number, line in enumerate(content.splitlines(), start=1):
        if not (body := line.strip()):
            continue
        where = f"({path}, line {number})"
        try:
            event = json.loads(body.decode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError):
            raise EventsFileError(f"not valid JSON {where}: write one JSON object per line") from None
        if not isinstance(event, dict):
            raise EventsFileError(f"not a JSON object {where}: write one JSON object per line")
        try:
            yield body, event, times.read(event.get("published", ""))
        except (TypeError, ValueError, OverflowError):
            raise EventsFileError(f"published is not an ISO 8601 time {where}: correct it") from None


def _dump(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()
