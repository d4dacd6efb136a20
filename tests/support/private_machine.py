"""Run a script as root on this machine, with private copies of the system's folders and oktawatch in /opt/oktawatch.

The script runs in a mount namespace, so this machine is not changed. /usr/bin/python3 must have the version of the Python
that runs the tests, because it uses the same dependencies.
"""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.launch import environment

_REPOSITORY = Path(__file__).parents[2]
_SITE_PACKAGES = Path(pytest.__file__).parents[1]

_PREPARE = """\
set -euo pipefail
mount --make-rprivate /
cp -a /etc "$FOLDER/etc" && mount --bind "$FOLDER/etc" /etc
for part in usr/local/sbin var/lib run opt; do
    mkdir -p "$FOLDER/$part" && mount --bind "$FOLDER/$part" "/$part"
done
mkdir /opt/dependencies /opt/source /var/lib/systemd
mount --bind "$DEPENDENCIES" /opt/dependencies
mount --bind "$SOURCE" /opt/source
/usr/bin/python3 -m venv --without-pip /opt/oktawatch
printf '%s\\n' /opt/source /opt/dependencies > "$(echo /opt/oktawatch/lib/python3*/site-packages)/linked.pth"
printf '%s\\n' '#!/opt/oktawatch/bin/python3' 'import sys; from oktawatch.cli.main import main; sys.exit(main())' \\
    > /opt/oktawatch/bin/oktawatch
chmod 755 /opt/oktawatch/bin/oktawatch
cd /
"""


def run_privately(script: str, variables: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run a bash script, which ends at the first failed command, with additional variables."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        ours = {"FOLDER": folder, "DEPENDENCIES": str(_SITE_PACKAGES), "SOURCE": str(_REPOSITORY)}
        return subprocess.run(
            ["unshare", "--mount", "bash", "-c", _PREPARE + script],
            env={**environment(), **ours, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
