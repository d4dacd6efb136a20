"""Update the files of sources with a URL. A fetched file replaces the current one only if it is valid.

Each source has a folder. Its ``state.json`` names the file in use, and the name of that file is the hash of its
contents. A new file is written first, then the state that names it, each under a temporary name and renamed. Renaming
the state is the moment of the change: if the process dies earlier, the old file stays in use with its own ETag. If it
dies later, the new file is in use. So an ETag never belongs to another file.

A lock on the folder lets one process update a source at a time. Readers need no lock: they open the file that the state
names, which is only deleted after the state names another one.
"""

import asyncio
import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, NamedTuple, ParamSpec, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from oktawatch.detection.evidence import EvidenceSource
from oktawatch.engine.evidence_files import (
    UNUSABLE,
    EvidenceFile,
    SourceState,
    describe_problem,
    load_file,
)
from oktawatch.engine.evidence_unpacking import unpack
from oktawatch.engine.tasks import discard
from oktawatch.model.timestamps import utc_now

P = ParamSpec("P")
T = TypeVar("T")

_FIRST_RETRY = timedelta(minutes=5)
"""The delay after the first failure. It doubles with each further failure, up to the refresh interval, because some
publishers limit downloads per day."""
_MOST_DOUBLINGS = 16
_LEAST_SHARE = 0.5
"""The minimum number of entries of a fetched file, as a share of the current file's."""
_STALE_INTERVALS = 2  # a source not checked successfully for this many refresh intervals is stale
LARGEST = {"networks": 64 * 1024**2, "mmdb": 512 * 1024**2}
"""The maximum size of a file in bytes, by format. Networks are kept in memory, databases are mapped."""
_WEB_PAGE = (b"<!doctype", b"<html")
_LONGEST_START = 1_000  # bytes in which the beginning of a web page is looked for
_PLAIN_NAME = re.compile(r"[a-z0-9_-]{1,60}", re.ASCII).fullmatch
_NOT_PLAIN = re.compile(r"[^a-z0-9_-]", re.ASCII)
_STATE, _LOCK = "state.json", "lock"


class Validators(Struct, frozen=True):
    """The headers of an answer by which a server recognizes the version of a file."""

    etag: str | None = None
    last_modified: str | None = None


Fetch = Callable[[IO[bytes], Validators | None], Awaitable[Validators | None]]
"""Downloads a file into the first argument, and returns the file's validators.

Returns None if the server's file still has the validators of the second argument. Raises EvidenceUpdateError."""


class EvidenceUpdateError(Exception):
    """A source could not be updated. The text explains why to people, and contains no secret."""

    def __init__(self, problem: str, *, reason: str = "refused") -> None:
        """``reason`` is a short, stable identifier: ``unreachable``, ``refused`` or ``not_written``."""
        super().__init__(problem)
        self.reason = reason


class UpdateRunningError(Exception):
    """Another process is updating the source."""


class FetchedState(Struct, frozen=True, kw_only=True):
    """The recorded state of a source with a URL."""

    url_digest: str | None = None
    """The SHA-256 of the file's URL."""
    file: str | None = None
    """The name of the file in the source's folder, which is the SHA-256 of the file's contents."""
    contents: str | None = None
    size: int = 0
    """The size of the contents, as in `SourceState`."""
    validators: Validators | None = None
    modified_at: datetime | None = None
    """When the contents last changed."""
    checked_at: datetime | None = None
    """When the file was last fetched or found unchanged."""
    attempted_at: datetime | None = None
    """When the last attempt began or, if it succeeded, ended."""
    failures: int = 0
    """The number of attempts since the last success, including a running one and without cancelled ones."""
    problem: str | None = None
    """Why the last attempt failed."""


class LoadedFile(NamedTuple):
    """The result of loading a source's current file."""

    name: str | None
    """The name of the file. None if there is no file, or if it was deleted because its contents can't be used."""
    source: EvidenceSource | None
    problem: str | None = None
    """Why the file can't be used."""


class FetchedEvidence:
    """A source with a URL. Its synchronous methods read and write files, so the daemon calls them in threads."""

    def __init__(
        self, file: EvidenceFile, *, refresh: timedelta, url: str | None = None, fetch: Fetch | None = None
    ) -> None:
        """``file.path`` is the source's folder. Without ``url`` and ``fetch``, the source can't be updated."""
        self.file = file
        self._refresh = refresh
        self._fetch = fetch
        # The state names the URL by its digest, because the URL can be a secret.
        self._url_digest = None if url is None else hashlib.sha256(url.encode()).hexdigest()

    @property
    def name(self) -> str:
        """The name of the source."""
        return self.file.name

    def state(self) -> FetchedState:
        """Return the recorded state, or a new one if none is recorded for this URL. Raises OSError."""
        try:
            state = msgspec.json.decode((self.file.path / _STATE).read_bytes(), type=FetchedState)
        except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
            return FetchedState(url_digest=self._url_digest)
        if self._url_digest in (None, state.url_digest):
            return state
        return FetchedState(url_digest=self._url_digest)

    def load(self) -> LoadedFile:
        """Load the current file. If its contents can't be used, delete it, so that it is fetched again."""
        name: str | None = None
        try:
            for _ in range(2):  # another process may replace the file in between
                if (name := self.state().file) is None:
                    break
                with suppress(FileNotFoundError):
                    return LoadedFile(name, load_file(replace(self.file, path=self.file.path / name)))
        except OSError as error:
            return LoadedFile(name, None, describe_problem(error))
        except (OverflowError, ValueError) as error:
            with suppress(OSError):
                (self.file.path / str(name)).unlink()
            return LoadedFile(None, None, describe_problem(error))
        return LoadedFile(None, None)

    def inspect(self, now: datetime) -> SourceState:
        """Return the state of the source, as recorded."""
        try:
            state = self.state()
        except OSError as error:
            return SourceState(file=self.file, fetched=True, problem=describe_problem(error))
        if state.file is None or not (self.file.path / state.file).is_file():
            problem = state.problem or "not fetched yet"
            return SourceState(file=self.file, fetched=True, problem=problem)
        limit = _STALE_INTERVALS * self._refresh
        return SourceState(
            file=self.file,
            fetched=True,
            contents=state.contents,
            size=state.size,
            modified_at=state.modified_at,
            checked_at=state.checked_at,
            stale=state.checked_at is None or now - state.checked_at > limit,
            problem=state.problem,
        )

    def is_due(self, now: datetime) -> bool:
        """Return whether the source must be fetched. The delay doubles with each failure in a row. Raises OSError."""
        state = self.state()
        wait = self._refresh
        if state.failures:
            wait = min(wait, _FIRST_RETRY * (1 << min(state.failures - 1, _MOST_DOUBLINGS)))
        elif state.file is None or not (self.file.path / state.file).is_file():
            return True
        # An attempt in the future was recorded before the clock was corrected.
        return state.attempted_at is None or not timedelta() <= now - state.attempted_at < wait

    async def update(self, *, now: Callable[[], datetime] = utc_now) -> bool:
        """Fetch the file if the server has another version. Return whether the contents changed.

        Raises UpdateRunningError, and EvidenceUpdateError, which is also recorded if the folder can be written.
        """
        if self._fetch is None:
            raise RuntimeError("a source without its URL can't be fetched")
        try:
            with self._exclusively():
                before = await _finish(self._begin, now())
                try:
                    return await self._update(self._fetch, before, now)
                except asyncio.CancelledError:
                    if self.state().failures:
                        self._write_state(before)  # a stop or a reload is no failure
                    raise
                except EvidenceUpdateError as error:
                    await _finish(self._record_problem, str(error))
                    raise
        except OSError as error:
            problem = f"can't write {self.file.path}: {error.strerror or 'it fails'}"
            raise EvidenceUpdateError(problem, reason="not_written") from None

    async def _update(self, fetch: Fetch, before: FetchedState, now: Callable[[], datetime]) -> bool:
        with tempfile.TemporaryFile(dir=self.file.path) as body:
            validators = await fetch(body, before.validators)
            if validators is not None:
                return await _finish(self._accept, body, before, validators, now())
        if before.file is None:
            raise EvidenceUpdateError("the server reported an unchanged file, but oktawatch has none")
        current = replace(before, checked_at=now(), attempted_at=now(), failures=0, problem=None)
        await _finish(self._write_state, current)
        return False

    def _begin(self, now: datetime) -> FetchedState:
        """Record an attempt, and return the previous state, without its file if that is missing or damaged.

        The attempt is recorded first, so that the next one waits even if the process dies during this one.
        """
        before = self.state()
        if before.file is not None and not self._is_whole(before.file):
            before = replace(before, file=None, contents=None, size=0, validators=None)
        self._write_state(replace(before, attempted_at=now, failures=before.failures + 1))
        return before

    def _is_whole(self, name: str) -> bool:
        """Return whether a file is unchanged since it was written."""
        try:
            return _digest(self.file.path / name) == name
        except OSError:
            return False

    def _accept(self, body: IO[bytes], before: FetchedState, validators: Validators, now: datetime) -> bool:
        """Replace the current file by the fetched one if it can be used. Return whether the contents changed."""
        with tempfile.NamedTemporaryFile(dir=self.file.path, delete=False) as unpacked:
            path = Path(unpacked.name)
            try:
                source = self._validated(body, unpacked.file, before)
                unpacked.flush()
                os.fsync(unpacked.fileno())
                name = _digest(path)
                path.replace(self.file.path / name)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        _sync(self.file.path)
        changed = name != before.file
        self._write_state(
            FetchedState(
                url_digest=self._url_digest,
                file=name,
                contents=source.contents,
                size=source.size,
                validators=validators,
                modified_at=now if changed else before.modified_at,
                checked_at=now,
                attempted_at=now,
            )
        )
        self._delete_others(name)
        return changed

    def _validated(self, body: IO[bytes], unpacked: IO[bytes], before: FetchedState) -> EvidenceSource:
        """Unpack and load a fetched file. Raises EvidenceUpdateError if it must not replace the current one."""
        try:
            body.seek(0)
            if body.read(_LONGEST_START).lstrip().lower().startswith(_WEB_PAGE):
                raise EvidenceUpdateError("the server sent a web page instead of the file")
            body.seek(0)
            unpack(body, unpacked, limit=LARGEST[self.file.format])
            unpacked.flush()
            source = load_file(replace(self.file, path=Path(unpacked.name)))
        except UNUSABLE as error:
            if isinstance(error, OSError):
                raise
            raise EvidenceUpdateError(f"the fetched file can't be used: {describe_problem(error)}") from None
        if source.size == 0:
            raise EvidenceUpdateError("the fetched file is empty")
        if before.file is not None and source.size < before.size * _LEAST_SHARE:
            raise EvidenceUpdateError(
                f"the fetched file has shrunk by more than half, from {before.size:,} to {source.size:,} entries:"
                f" delete {self.file.path} to accept it"
            )
        return source

    def _record_problem(self, problem: str) -> None:
        self._write_state(replace(self.state(), problem=problem))

    def _write_state(self, state: FetchedState) -> None:
        with tempfile.NamedTemporaryFile(dir=self.file.path, delete=False) as file:
            try:
                file.write(msgspec.json.encode(state))
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(self.file.path / _STATE)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
        _sync(self.file.path)

    def _delete_others(self, name: str) -> None:
        """Delete the previous file, and the temporary files of processes that died."""
        for path in self.file.path.iterdir():
            if path.name not in (_STATE, _LOCK, name):
                path.unlink(missing_ok=True)

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Hold the lock of the source's folder. If the process dies, the lock is released. Raises UpdateRunningError."""
        self.file.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.file.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UpdateRunningError("another process is updating it") from None
            yield
        finally:
            os.close(handle)


async def _finish(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a thread. If the caller is cancelled, the function ends before the cancellation continues."""
    call = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await discard(call)
        raise


def folder_name(source: str) -> str:
    """Return the name of a source's folder. Different sources have different folders, whatever characters their names contain."""
    if _PLAIN_NAME(source):
        return source
    digest = hashlib.sha256(source.encode()).hexdigest()
    return f"{_NOT_PLAIN.sub('_', source.lower())[:40]}.{digest[:12]}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    """Write a folder's renamed entries to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
