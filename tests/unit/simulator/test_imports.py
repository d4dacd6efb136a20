"""The cost of importing the simulator."""

import subprocess
import sys


def test_importing_the_simulator_is_cheap() -> None:
    """It pulls in the HTTP library alone: no SDK, no settings, no database."""
    heavy = ["okta", "pydantic", "sqlalchemy", "apscheduler", "typer", "rich", "structlog"]
    code = f"import sys, oktawatch.simulator; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
