"""Unpack a fetched file: plain, compressed with gzip, or a database in a compressed tar archive, like MaxMind's."""

import gzip
import shutil
import tarfile
import zlib
from typing import IO, Protocol, cast

_GZIP = b"\x1f\x8b"
_TAR, _TAR_OFFSET = b"ustar", 257
_ENDING = ".mmdb"
_MIB = 1024**2


def unpack(packed: IO[bytes], to: IO[bytes], *, limit: int) -> None:
    """Unpack ``packed`` into ``to``, at most ``limit`` bytes.

    Raises ValueError if the contents are larger or damaged, or if an archive has no database.
    """
    try:
        if not _starts_with(packed, _GZIP, 0):
            shutil.copyfileobj(_Limited(packed, limit), to)
            return
        with gzip.GzipFile(fileobj=packed) as unpacked:
            if _starts_with(unpacked, _TAR, _TAR_OFFSET):
                _extract(_Limited(unpacked, limit), to)
            else:
                shutil.copyfileobj(_Limited(unpacked, limit), to)
    except (gzip.BadGzipFile, EOFError, zlib.error, tarfile.TarError):
        raise ValueError("expected a complete gzip file or tar archive") from None


def _extract(archive: "_Limited", to: IO[bytes]) -> None:
    with tarfile.open(fileobj=cast("IO[bytes]", archive), mode="r|") as members:  # tarfile only calls read()
        for member in members:
            if member.name.endswith(_ENDING) and (content := members.extractfile(member)) is not None:
                shutil.copyfileobj(content, to)
                return
    raise ValueError(f"expected a database ({_ENDING}) in the archive")


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...

    def seek(self, offset: int, /) -> int: ...


def _starts_with(file: _Readable, text: bytes, offset: int) -> bool:
    start = file.read(offset + len(text))
    file.seek(0)
    return start[offset:] == text


class _Limited:
    """Reads a file, and raises ValueError after ``limit`` bytes, because a small file can inflate to gigabytes."""

    def __init__(self, file: _Readable, limit: int) -> None:
        self._file = file
        self._limit = self._left = limit

    def read(self, size: int = -1) -> bytes:
        """Read at most ``size`` bytes."""
        content = self._file.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(f"expected at most {self._limit // _MIB} MiB")
        return content
