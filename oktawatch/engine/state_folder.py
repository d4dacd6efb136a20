"""The folder for files that oktawatch writes beside the database."""

import os
from pathlib import Path


def state_folder(sqlite_file: Path | None) -> Path:
    """Return the folder of the SQLite file, or without one this user's state folder.

    The folder of the SQLite file comes first, so that a command that a person runs finds the daemon's files.
    """
    if sqlite_file is not None:
        return sqlite_file.resolve().parent
    if state := os.environ.get("STATE_DIRECTORY", "").partition(":")[0]:  # systemd's
        return Path(state)
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "oktawatch"
