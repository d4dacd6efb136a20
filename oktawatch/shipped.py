"""The files for operators that ship with the program: units, example configuration, alert rules, recipes.

In the repository they are in ``config/``. The wheel contains a copy of that folder inside the package.
"""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path


def folder() -> Path:
    """Return the folder of the files: inside the installed package, or else beside the package in the repository."""
    package = Path(str(resources.files("oktawatch")))
    installed = package / "_config"
    return installed if installed.is_dir() else package.parent / "config"


def names() -> Iterator[str]:
    """Yield the path of each file relative to the folder, sorted."""
    root = folder()
    yield from sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def read(name: str) -> str:
    """Return the text of a file. Raises KeyError if no file has this name."""
    if name not in names():
        raise KeyError(name)
    return (folder() / name).read_text("utf-8")
