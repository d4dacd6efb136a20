"""Test data in published formats: invented files in `tests/data`, or the published ones beside the repository."""

import os
from pathlib import Path

_INVENTED = Path(__file__).resolve().parents[1] / "data"
_BESIDE = Path(__file__).resolve().parents[3] / "shared"


def shared_data(name: str) -> Path:
    """Return the path of a data file.

    Published data is preferred: `../shared/data` beside the repository, or `data` in `$OKTAWATCH_SHARED`.
    """
    published = Path(os.environ.get("OKTAWATCH_SHARED") or _BESIDE) / "data"
    return (published if published.is_dir() else _INVENTED) / name
