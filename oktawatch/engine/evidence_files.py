"""Load the files of evidence about addresses."""

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from oktawatch.detection.evidence import EvidenceSource, NetworksSource
from oktawatch.detection.networks import Networks
from oktawatch.model.anonymizer_kind import AnonymizerKind


class EvidenceFile(Struct, frozen=True, kw_only=True):
    """A file of evidence, as the configuration describes it."""

    name: str
    path: Path
    kind: AnonymizerKind
    """What an address in it is."""
    operator: str | None = None


class EvidenceFileError(ValueError):
    """A file of evidence that can't be used."""

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(problem)
        self.index = index
        """The place of the file in the configuration."""


def load_files(files: Iterable[EvidenceFile]) -> tuple[EvidenceSource, ...]:
    """Load all files. Raises EvidenceFileError for the first one that can't be used."""
    sources = []
    for index, file in enumerate(files):
        try:
            sources.append(_load(file))
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise EvidenceFileError(index, f"{file.path.name}: {_reason(error)}") from None
    return tuple(sources)


def _load(file: EvidenceFile) -> EvidenceSource:
    networks = Networks.parse(file.path.read_text("utf-8"))
    return NetworksSource(file.name, networks, file.kind, file.operator)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"can't read it: {error.strerror or 'it fails'}"
    return "expected UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
