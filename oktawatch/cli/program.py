"""The command that runs this program, for lines to copy."""

import os
import shlex
import sys
from pathlib import Path


def program() -> str:
    """Return the shortest command that runs this program from the working directory."""
    import shutil

    script = Path(sys.argv[0])
    if script.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m oktawatch"
    on_path = shutil.which("oktawatch")
    if on_path and Path(on_path).resolve() == script.resolve():
        return "oktawatch"
    return shlex.quote(os.path.relpath(script) if script.is_relative_to(Path.cwd()) else str(script))
