"""Run every command of docs/operate.md and docs/backup.md in order, with a simulated org."""

import re
import shlex
from pathlib import Path

import pytest

from oktawatch.model.timestamps import utc_now
from oktawatch.simulator import SimulatedOrg, running
from tests.support.http import receiving
from tests.support.logclient import event
from tests.support.program import Program

DOCS = Path(__file__).parents[2] / "docs"
REPLACEMENTS = {
    "/var/backups/oktawatch/oktawatch-$(date +%F).db": "copy.db",
    "&& systemctl reload oktawatch": "",
}
"""Parts of commands that need a service or a folder of the operating system."""


def blocks(page: str) -> list[str]:
    """Return the commands and statements in a page's indented blocks."""
    text = (DOCS / page).read_text("utf-8")
    for part, replacement in REPLACEMENTS.items():
        text = text.replace(part, replacement)
    return re.findall(r"^ {4}((?:oktawatch|SELECT) .*)$", text, re.MULTILINE)


@pytest.mark.parametrize(("page", "fewest"), [("operate.md", 5), ("backup.md", 2)])
def test_every_command_works(program: Program, page: str, fewest: int) -> None:
    """Each command ends with 0, and each statement is valid."""
    org = SimulatedOrg()
    org.persist(event(0, utc_now(), securityContext={"isProxy": True}))
    with running(org) as url, receiving() as hook:
        more = f'[[notifiers]]\nname = "soc"\ntype = "webhook"\nurl = "{hook.url}"\n'
        program.configure(("acme", url, org.token), more=more)
        assert program.run("run", "--once").returncode == 0
        commands = blocks(page)
        assert len(commands) >= fewest
        for command in commands:
            if command.startswith("SELECT"):
                program.rows(command)
            else:
                done = program.run(*shlex.split(command)[1:])
                assert (done.returncode, command) == (0, command), done.stderr
