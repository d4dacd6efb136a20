"""The cost of importing the simulator."""

import subprocess
import sys


def test_importing_the_simulator_is_cheap() -> None:
    """The simulator imports the HTTP library, but no SDK, settings or database."""
    heavy = ["okta", "pydantic", "sqlalchemy", "apscheduler", "typer", "rich", "structlog"]
    code = f"import sys, oktawatch.simulator; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
