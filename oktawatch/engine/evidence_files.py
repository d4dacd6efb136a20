"""Load the files of evidence about addresses: lists of networks, and databases in MaxMind's format."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from oktawatch.detection.evidence import EvidenceSource, Finding, NetworksSource
from oktawatch.detection.networks import Networks
from oktawatch.detection.privacy_records import ipinfo_kinds, maxmind_kinds
from oktawatch.model.anonymizer_kind import AnonymizerKind
from oktawatch.model.sanitize import shorten

_KindsOf = Callable[[Any], Iterator[tuple[AnonymizerKind, str | None]]]


UNUSABLE = (OSError, OverflowError, ValueError)
"""The exceptions that `load_file` raises."""


class EvidenceFile(Struct, frozen=True, kw_only=True):
    """A source of evidence, as the configuration describes it."""

    name: str
    path: Path
    """The file or, for a source with a URL, the folder of the fetched files."""
    format: Literal["networks", "mmdb"] = "networks"
    kind: AnonymizerKind = AnonymizerKind.UNKNOWN
    """For networks: the kind of anonymizer that the file lists."""
    operator: str | None = None
    """For networks: the operator of the listed networks."""


class SourceState(Struct, frozen=True, kw_only=True):
    """The current state of a configured source."""

    file: EvidenceFile
    fetched: bool = False
    """Whether the source has a URL."""
    contents: str | None = None
    """A description of the contents. None without usable contents."""
    size: int | None = None
    """The number of networks, or of nodes of a database's search tree."""
    modified_at: datetime | None = None
    """When the contents changed."""
    checked_at: datetime | None = None
    """When the contents were last known to be current: when a file changed, or a URL was last fetched or found unchanged."""
    stale: bool = False
    """Whether a source with a URL was neither fetched nor found unchanged for twice the refresh interval."""
    problem: str | None = None
    """Why the source can't be used, or why it can't be fetched."""

    @property
    def word(self) -> str:
        """The state in one word: ``missing`` (without contents), ``failing``, ``stale`` or ``ok``."""
        if self.contents is None:
            return "missing"
        if self.problem is not None:
            return "failing"
        return "stale" if self.stale else "ok"


class DatabaseSource:
    """A database of addresses: MaxMind's Anonymous IP or IPinfo's privacy detection."""

    def __init__(self, name: str, path: Path) -> None:
        """Open the file, which is mapped into memory. Raises OSError, OverflowError or ValueError."""
        import maxminddb  # noqa: PLC0415 -- only for those who have such a file

        self.name = name
        self._broken = maxminddb.InvalidDatabaseError
        try:
            self._reader = maxminddb.open_database(path)
            metadata = self._reader.metadata()
        except (maxminddb.InvalidDatabaseError, LookupError, TypeError):
            raise ValueError("expected a database in MaxMind's format") from None
        # Counting the networks would take seconds, and might never end in a damaged tree. The nodes are a rough measure.
        self.size = metadata.node_count if metadata.node_count > 1 else 0
        """The number of nodes of the search tree; 0 if it has only a root."""
        database_type = shorten(str(metadata.database_type))
        self._kinds_of = _kinds_by(database_type)
        built = datetime.fromtimestamp(metadata.build_epoch, UTC)
        self.contents = f"{database_type} of {built:%Y-%m-%d}"

    def find(self, address: str) -> Sequence[Finding]:
        """Return what the database says about an address. A broken record is ignored."""
        try:
            record = self._reader.get(address)
        except (TypeError, ValueError, self._broken):
            # Not an address, U+0000 in it, IPv6 in a database of IPv4, or a damaged file.
            return ()
        return [Finding(self.name, kind, operator) for kind, operator in self._kinds_of(record)]


def load_file(file: EvidenceFile) -> EvidenceSource:
    """Load a file. Raises OSError, OverflowError or ValueError: `describe_problem` formats the error."""
    if file.format == "mmdb":
        return DatabaseSource(file.name, file.path)
    with file.path.open(encoding="utf-8-sig") as lines:  # with or without a byte order mark
        networks = Networks.parse_lines(lines)
    return NetworksSource(file.name, networks, file.kind, file.operator)


def inspect_file(file: EvidenceFile) -> SourceState:
    """Load a file, and return its state: a description of its contents, or why it can't be used."""
    modified_at = None
    try:
        modified_at = datetime.fromtimestamp(file.path.stat().st_mtime, UTC)
        source = load_file(file)
    except UNUSABLE as error:
        return SourceState(
            file=file, modified_at=modified_at, checked_at=modified_at, problem=describe_problem(error)
        )
    return SourceState(
        file=file,
        contents=source.contents,
        size=source.size,
        modified_at=modified_at,
        checked_at=modified_at,
    )


def describe_problem(error: Exception) -> str:
    """Return why a file can't be used. Quotes nothing from the file but the type of a database."""
    if isinstance(error, OSError):
        return f"can't read it: {error.strerror or 'it fails'}"
    return "expected UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)


def _kinds_by(database_type: str) -> _KindsOf:
    """Return the function that reads the records of a database of this type."""
    if "Anonymous" in database_type:  # GeoIP2-Anonymous-IP, GeoIP-Anonymous-Plus
        return maxmind_kinds
    if "privacy" in database_type.lower():  # ipinfo standard_privacy.mmdb
        return ipinfo_kinds
    raise ValueError(f"expected MaxMind Anonymous IP or IPinfo privacy detection, not {database_type!r}")
