"""Several files are created completely, or none of them."""

import os
from pathlib import Path

import pytest

from oktawatch.config.errors import ConfigError
from oktawatch.service.new_files import NewFile, create_files


def _files(*paths: Path) -> list[NewFile]:
    return [NewFile(path=path, content=path.name.encode(), mode=0o640) for path in paths]


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_files_have_their_content_and_mode(tmp_path: Path) -> None:
    """Files have the requested contents and modes with any umask, and no temporary file is left."""
    umask = os.umask(0o077)
    try:
        create_files(_files(tmp_path / "x/a", tmp_path / "x/y/b"), folder_mode=0o755)
    finally:
        os.umask(umask)

    assert _tree(tmp_path) == {"x/a": b"a", "x/y/b": b"b"}
    assert (tmp_path / "x/a").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "x/y").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_nothing_is_overwritten(tmp_path: Path, kind: str) -> None:
    """If one of the paths exists, none of the files is created."""
    second = tmp_path / "b"
    if kind == "file":
        second.write_bytes(b"old")
    elif kind == "folder":
        second.mkdir()
    else:
        second.symlink_to("nowhere")
    before = _tree(tmp_path)

    with pytest.raises(ConfigError, match=rf"already exists \({second}\): move it away"):
        create_files(_files(tmp_path / "a", second), folder_mode=0o755)

    assert _tree(tmp_path) == before
    assert os.listdir(tmp_path) == ["b"]  # noqa: PTH208 -- hidden files too


def test_a_file_created_by_another_process_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that another process creates at the last moment keeps its content, and ours are removed."""
    second, sync = tmp_path / "b", os.fsync

    def appear(descriptor: int) -> None:
        sync(descriptor)
        if (tmp_path / "a").exists():
            second.write_bytes(b"theirs")

    monkeypatch.setattr(os, "fsync", appear)
    with pytest.raises(ConfigError, match="already exists"):
        create_files(_files(tmp_path / "a", second), folder_mode=0o755)

    assert _tree(tmp_path) == {"b": b"theirs"}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """If the second file can't be written, the first one is removed."""
    sync = os.fsync

    def fail(descriptor: int) -> None:
        if (tmp_path / "a").exists():
            raise error
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error)):
        create_files(_files(tmp_path / "a", tmp_path / "b"), folder_mode=0o755)

    assert _tree(tmp_path) == {}
