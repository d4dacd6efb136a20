"""Load the files of evidence about addresses: lists of networks, and databases in MaxMind's format."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from oktawatch.detection.evidence import EvidenceSource, Finding, NetworksSource
from oktawatch.detection.networks import Networks
from oktawatch.detection.privacy_records import ipinfo_kinds, maxmind_kinds
from oktawatch.model.anonymizer_kind import AnonymizerKind

_KindsOf = Callable[[Any], Iterator[tuple[AnonymizerKind, str | None]]]


class EvidenceFile(Struct, frozen=True, kw_only=True):
    """A file of evidence, as the configuration describes it."""

    name: str
    path: Path
    format: Literal["networks", "mmdb"] = "networks"
    kind: AnonymizerKind = AnonymizerKind.UNKNOWN
    """Networks: what an address in the file is."""
    operator: str | None = None
    """Networks: who operates them."""


class EvidenceFileError(ValueError):
    """A file of evidence that can't be used."""

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(problem)
        self.index = index
        """The place of the file in the configuration."""


class FileState(Struct, frozen=True, kw_only=True):
    """A file of evidence as it is now."""

    file: EvidenceFile
    contents: str | None
    """What the file has. None if it can't be used."""
    modified_at: datetime | None
    problem: str | None
    """Why the file can't be used."""


class DatabaseSource:
    """A database of addresses: MaxMind's Anonymous IP or IPinfo's privacy detection, by its metadata."""

    def __init__(self, name: str, path: Path) -> None:
        """Open the file, which is mapped into memory. Raises OSError or ValueError."""
        import maxminddb  # noqa: PLC0415 -- only for those who have such a file

        self.name = name
        try:
            self._reader = maxminddb.open_database(path)
        except maxminddb.InvalidDatabaseError:
            raise ValueError("expected a database in MaxMind's format") from None
        self._broken = maxminddb.InvalidDatabaseError
        metadata = self._reader.metadata()
        self._kinds_of = _kinds_by(metadata.database_type)
        built = datetime.fromtimestamp(metadata.build_epoch, UTC)
        self.contents = f"{metadata.database_type} of {built:%Y-%m-%d}"

    def find(self, address: str) -> Sequence[Finding]:
        """Return what the database says about an address. Broken records say nothing."""
        try:
            record = self._reader.get(address)
        except (TypeError, ValueError, self._broken):
            # Not an address, U+0000 in it, IPv6 in a database of IPv4, or a damaged file.
            return ()
        return [Finding(self.name, kind, operator) for kind, operator in self._kinds_of(record)]


def load_files(files: Iterable[EvidenceFile]) -> tuple[EvidenceSource, ...]:
    """Load all files. Raises EvidenceFileError for the first one that can't be used."""
    sources = []
    for index, file in enumerate(files):
        try:
            sources.append(_load(file))
        except (OSError, OverflowError, ValueError) as error:
            raise EvidenceFileError(index, f"{file.path.name}: {_reason(error)}") from None
    return tuple(sources)


def inspect_file(file: EvidenceFile) -> FileState:
    """Load a file to see what it has, or why it can't be used."""
    contents = modified_at = problem = None
    try:
        modified_at = datetime.fromtimestamp(file.path.stat().st_mtime, UTC)
        contents = _load(file).contents
    except (OSError, OverflowError, ValueError) as error:
        problem = _reason(error)
    return FileState(file=file, contents=contents, modified_at=modified_at, problem=problem)


def _load(file: EvidenceFile) -> EvidenceSource:
    if file.format == "mmdb":
        return DatabaseSource(file.name, file.path)
    networks = Networks.parse(file.path.read_text("utf-8"))
    return NetworksSource(file.name, networks, file.kind, file.operator)


def _kinds_by(database_type: str) -> _KindsOf:
    """Return how to read records of a database, by the type in its metadata."""
    if "Anonymous" in database_type:  # GeoIP2-Anonymous-IP, GeoIP-Anonymous-Plus
        return maxmind_kinds
    if "privacy" in database_type.lower():  # ipinfo standard_privacy.mmdb
        return ipinfo_kinds
    raise ValueError(f"expected MaxMind Anonymous IP or IPinfo privacy detection, not {database_type!r}")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"can't read it: {error.strerror or 'it fails'}"
    return "expected UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
