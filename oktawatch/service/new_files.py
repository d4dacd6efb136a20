"""Create several files at once: all or none, and never over an existing file."""

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from oktawatch.config.errors import ConfigError


class NewFile(Struct, frozen=True, kw_only=True):
    """A file to create."""

    path: Path
    content: bytes
    mode: int


def create_files(files: Sequence[NewFile], *, folder_mode: int) -> None:
    """Create all files, and missing folders with ``folder_mode``. If a file fails, remove those created before it.

    Each file appears with its complete content and its mode. Raises OSError, or ConfigError if one of the files exists.
    """
    require_absent([file.path for file in files])
    created: list[Path] = []
    try:
        for file in files:
            make_folder(file.path.parent, folder_mode)
            _create(file)
            created.append(file.path)
    except BaseException:
        for path in reversed(created):
            path.unlink(missing_ok=True)
        raise


def require_absent(paths: Iterable[Path]) -> None:
    """Raise ConfigError if one of the paths exists."""
    for path in paths:
        if os.path.lexists(path):
            raise _existing(path)


def _existing(path: Path) -> ConfigError:
    return ConfigError("already exists", str(path), "move it away first, because no file is overwritten")


def make_folder(folder: Path, mode: int) -> None:
    """Create a folder and its missing parents with a mode, whatever the umask. An existing folder stays as it is."""
    if folder.is_dir():
        return
    make_folder(folder.parent, mode)
    folder.mkdir(exist_ok=True)
    folder.chmod(mode)


def _create(file: NewFile) -> None:
    """Write a temporary file and link it. Unlike a rename, a link never replaces an existing file."""
    with tempfile.NamedTemporaryFile(dir=file.path.parent, prefix=f".{file.path.name}-") as temporary:
        temporary.write(file.content)
        os.fchmod(temporary.fileno(), file.mode)
        temporary.flush()
        os.fsync(temporary.fileno())
        try:
            os.link(temporary.name, file.path)
        except FileExistsError:
            raise _existing(file.path) from None
