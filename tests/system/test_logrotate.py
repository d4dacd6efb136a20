"""logrotate, configured as docs/notifications.md says, rotates the file of a notifier without losing a line.

Needs Debian's package logrotate: `make system` runs these tests.
"""

import asyncio
import grp
import gzip
import json
import os
import pwd
import re
import subprocess
from pathlib import Path

import msgspec

from oktawatch.notify.file import FileChannel, FileSettings
from tests.support.messages import due
from tests.support.outbox import COMPOSER
from tests.unit.formats.alerts import ALERT

PAGE = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text("utf-8")


def send(channel: FileChannel, number: int) -> None:
    """Append a message."""
    message = COMPOSER.compose(msgspec.structs.replace(due(**ALERT), id=f"id-{number}"))
    asyncio.run(channel.send(message))


def ids(text: str) -> list[str]:
    """Return the ids of the documents in a file."""
    return [json.loads(line)["event"]["id"] for line in text.splitlines()]


def test_rotation(tmp_path: Path) -> None:
    """Each line is in one of the files, the oldest of which is compressed."""
    (snippet,) = re.findall(r"^```\n(# /etc/logrotate\.d/oktawatch\n.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    folder = tmp_path / "log"
    folder.mkdir(mode=0o750)
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    configuration = tmp_path / "logrotate.conf"
    configuration.write_text(
        snippet.replace("/var/log/oktawatch/", f"{folder}/").replace(
            "su oktawatch adm", f"su {user} {group}"
        ),
        "utf-8",
    )
    configuration.chmod(0o644)
    channel = FileChannel(FileSettings(type="file", path=folder / "alerts.ndjson"))
    for number in range(3):
        send(channel, number)
        if number < 2:
            command = [
                "/usr/sbin/logrotate",
                "--force",
                "--state",
                str(tmp_path / "state"),
                str(configuration),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")
    assert ids((folder / "alerts.ndjson").read_text("ascii")) == ["id-2"]
    assert ids((folder / "alerts.ndjson.1").read_text("ascii")) == ["id-1"]
    assert ids(gzip.decompress((folder / "alerts.ndjson.2.gz").read_bytes()).decode()) == ["id-0"]
