"""The project's pinned dependencies."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def pins(file: str) -> dict[str, str]:
    """Return the version of every package that a file pins."""
    text = (ROOT / file).read_text("utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", text, re.MULTILINE))


def names(requirements: list[str]) -> set[str]:
    """Return the normalized package names of some requirements."""
    found = (re.match(r"[\w.-]+", requirement) for requirement in requirements)
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match}


def test_runtime_dependencies_are_pinned_separately() -> None:
    """`requirements.txt` has exactly the runtime dependencies, in the versions of the tests."""
    runtime, everything = pins("requirements.txt"), pins("constraints.txt")
    development = names(PROJECT["optional-dependencies"]["dev"])
    assert names(PROJECT["dependencies"]) <= runtime.keys()
    assert development <= everything.keys()
    assert not development & runtime.keys()
    assert runtime.items() <= everything.items()


def test_runtime_dependencies_are_pinned_by_hash() -> None:
    """Every package in `requirements.txt` has hashes."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    packages = [at for at, line in enumerate(lines) if line[:1].isalnum()]
    assert len(packages) == len(pins("requirements.txt"))
    assert all(lines[at + 1].startswith("    --hash=sha256:") for at in packages)


@pytest.mark.parametrize("file", ["requirements.txt", "constraints.txt"])
def test_pins_name_no_index(file: str) -> None:
    """The pinned requirements name no package index."""
    assert "://" not in (ROOT / file).read_text("utf-8")
    assert "index-url" not in (ROOT / file).read_text("utf-8")


def test_the_sdist_can_run_its_tests() -> None:
    """Everything that tests read or import from the repository is in it."""
    included = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"][
        "targets"
    ]["sdist"]["include"]
    assert {"oktawatch", "migrations", "config", "docs", "tests", "benchmarks", "Makefile"} <= set(included)
    assert all((ROOT / name).exists() for name in included)
