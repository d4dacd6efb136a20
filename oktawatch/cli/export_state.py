"""The state file of `alerts export --since-last`: how far the last run got.

It contains the number of each org's latest change when the last run began. Changes of an org are committed in the order
of their numbers (`store/orgs.py`), so no alert is missed. A run writes the file at its end, so the run after a failed
one exports the same alerts again.
"""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from oktawatch.cli.atomic_file import replace_file
from oktawatch.cli.exits import UsageError

_MAX_BYTES = 10_000_000


class ExportState(Struct, frozen=True, kw_only=True):
    """The contents of a state file."""

    export: dict[str, Any]
    """The format and filters. An export with other options must not use this file, because that export would skip alerts."""
    changes: dict[str, int]
    """The number of the latest change when the run began, by org."""


def read_state(file: Path, export: dict[str, Any]) -> dict[str, int]:
    """Return `ExportState.changes` of the last run, or an empty dictionary before the first run.

    Raise UsageError if the file can't be used or belongs to an export with other options.
    """
    if not file.parent.is_dir():
        raise UsageError(f"no such folder (--since-last {file}): create it")
    if not file.exists():
        return {}
    try:
        with file.open("rb") as opened:
            state = msgspec.json.decode(opened.read(_MAX_BYTES), type=ExportState)
    except ValueError:
        raise UsageError(
            f"not a state file (--since-last {file}): name another file, or delete this one to export every alert again"
        ) from None
    if state.export != export:
        raise UsageError(
            f"the state file belongs to an export with other options (--since-last {file}): use a separate file for each export"
        )
    return state.changes


def write_state(file: Path, export: dict[str, Any], changes: dict[str, int]) -> None:
    """Replace the state file atomically."""
    replace_file(file, msgspec.json.encode(ExportState(export=export, changes=changes)))
