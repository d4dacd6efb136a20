"""Data that others published, which lies beside the repository and is no part of it."""

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[3] / "shared"


def shared_data(name: str) -> Path:
    """Return the path of a shared data file; skip the test where there is no folder of shared data at all.

    The folder is `../shared/data` beside the repository, or `data` in `$OKTAWATCH_SHARED`.
    """
    folder = Path(os.environ.get("OKTAWATCH_SHARED") or _BESIDE) / "data"
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder} (OKTAWATCH_SHARED names another place)")
    return folder / name
