"""The folder for the files that oktawatch writes in addition to the database."""

import os
from pathlib import Path


def state_folder(sqlite_file: Path | None) -> Path:
    """Return the folder of the SQLite file. Without one, return the state folder of the service or this user.

    The folder of the SQLite file is preferred, so that a command that a person runs finds the daemon's files.
    """
    if sqlite_file is not None:
        return sqlite_file.resolve().parent
    if state := os.environ.get("STATE_DIRECTORY", "").partition(":")[0]:  # systemd's
        return Path(state)
    if home := os.environ.get("XDG_STATE_HOME"):
        return Path(home) / "oktawatch"
    try:
        return Path.home() / ".local" / "state" / "oktawatch"
    except RuntimeError:  # a container's user without an entry in /etc/passwd
        return Path("/var/lib/oktawatch")
