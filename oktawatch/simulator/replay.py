"""Given events instead of invented ones: a file with a JSON object on each line."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from . import times


class EventsFileError(Exception):
    """A file of events that cannot be served; the message is one line for people, naming file and line."""


def load_events(path: Path, *, now: datetime, keep_times: bool = False) -> list[tuple[datetime, bytes]]:
    """Return the events of a file, each with a persistence time: one after the other, as they stand in the file.

    Their `published` are moved together so that the newest is `now`; with `keep_times` every event is served
    byte for byte as it stands in the file, and what it says of the future counts as persisted now. Raises
    EventsFileError.
    """
    lines = list(_lines(path))
    present = times.to_ms(now)
    shift = 0 if keep_times or not lines else present - max(published for _, _, published in lines)
    events = []
    persisted = 0
    try:
        for body, event, published in lines:
            persisted = max(persisted, min(published + shift, present))
            moved = body if keep_times else _dump(event | {"published": times.to_text(published + shift)})
            events.append((times.from_ms(persisted), moved))
    except OverflowError:
        raise EventsFileError(f"times too far apart to be moved to now ({path}): give --keep-times") from None
    return events


def _lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any], int]]:
    """Yield body, event and published time of each line that is not blank."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EventsFileError(f"cannot read the events ({path}): {error.strerror}") from None
    for number, line in enumerate(content.splitlines(), start=1):
        if not (body := line.strip()):
            continue
        where = f"({path}, line {number})"
        try:
            event = json.loads(body.decode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError):
            raise EventsFileError(f"not valid JSON {where}: give one JSON object on each line") from None
        if not isinstance(event, dict):
            raise EventsFileError(f"not a JSON object {where}: give one JSON object on each line")
        try:
            yield body, event, times.read(event.get("published", ""))
        except (TypeError, ValueError, OverflowError):
            raise EventsFileError(f"published is no ISO 8601 time {where}: give each event one") from None


def _dump(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()
