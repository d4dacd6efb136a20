"""The Okta SDK is imported only where a request is sent."""

import subprocess
import sys

import pytest

LIGHT = ["queries", "errors", "links", "decode", "page", "access", "ratelimit"]


def _loaded(module: str) -> set[str]:
    code = f"import sys, {module}; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )


def test_all_modules_but_the_client_are_imported_without_the_sdk() -> None:
    """All modules but the client can be imported without the Okta SDK."""
    code = ", ".join(f"oktawatch.systemlog.{name}" for name in LIGHT)
    assert {"okta", "aiohttp"} & _loaded(code) == set()


@pytest.mark.parametrize("module", ["okta", "aiohttp"])
def test_the_client_imports_the_sdk(module: str) -> None:
    """The client imports the SDK, so the test above can fail."""
    assert module in _loaded("oktawatch.systemlog.client")
