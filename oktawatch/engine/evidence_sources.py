"""All configured sources of evidence, in their order."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog

from oktawatch.detection.evidence import Evidence, EvidenceSource
from oktawatch.engine.evidence_files import (
    UNUSABLE,
    EvidenceFile,
    SourceState,
    describe_problem,
    inspect_file,
    load_file,
)
from oktawatch.engine.evidence_updates import FetchedEvidence

_log: Any = structlog.get_logger(__name__)


class EvidenceFileError(ValueError):
    """A file of evidence that can't be used."""

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(problem)
        self.index = index
        """The index of the source in the configuration."""


class EvidenceSources:
    """Loads the configured sources, and reloads fetched ones when their files change. Can be used from several threads."""

    def __init__(self, evidence: Evidence, configured: Sequence[EvidenceFile | FetchedEvidence]) -> None:
        self._evidence = evidence
        self._configured = configured
        self._loaded: dict[str, EvidenceSource] = {}
        """The contents of each source, by its name."""
        self._file_names: dict[str, str | None] = {}
        """For each source with a URL, by its name: the name of its loaded file."""
        self._lock = threading.Lock()

    @property
    def fetched(self) -> list[FetchedEvidence]:
        """The sources with a URL."""
        return [source for source in self._configured if isinstance(source, FetchedEvidence)]

    @property
    def names(self) -> list[str]:
        """The names of all sources."""
        return [_file(source).name for source in self._configured]

    def load(self) -> None:
        """Load all sources. Raises EvidenceFileError for the first file that can't be used.

        A source with a URL is optional: without its file, classification uses the other sources.
        """
        for index, source in enumerate(self._configured):
            if isinstance(source, FetchedEvidence):
                self._load_fetched(source)
                if source.name not in self._loaded:
                    _log.warning("evidence_missing", source=source.name)
                continue
            try:
                self._loaded[source.name] = load_file(source)
            except UNUSABLE as error:
                raise EvidenceFileError(index, f"{source.path.name}: {describe_problem(error)}") from None
        self._publish()

    def reload(self, source: FetchedEvidence) -> None:
        """Load a source again if another file was fetched. Raises OSError."""
        if source.state().file != self._file_names.get(source.name):
            self._load_fetched(source)
            self._publish()

    def inspect(self, now: datetime) -> list[SourceState]:
        """Return the state of each source."""
        return [
            source.inspect(now) if isinstance(source, FetchedEvidence) else inspect_file(source)
            for source in self._configured
        ]

    def checked_at(self) -> dict[str, datetime]:
        """Return when each source was last known to be current, without loading it.

        Omit sources that were never fetched, and files that can't be accessed.
        """
        found: dict[str, datetime] = {}
        for source in self._configured:
            with suppress(OSError):
                if isinstance(source, FetchedEvidence):
                    checked_at = source.state().checked_at
                else:
                    checked_at = datetime.fromtimestamp(source.path.stat().st_mtime, UTC)
                if checked_at is not None:
                    found[source.name] = checked_at
        return found

    def _load_fetched(self, source: FetchedEvidence) -> None:
        """Load the source's current file. If no file can be used, keep the contents that were loaded before."""
        loaded = source.load()
        self._file_names[source.name] = loaded.name
        if loaded.problem is not None:
            _log.error("evidence_unusable", source=source.name, error=loaded.problem)
        if loaded.source is not None:
            self._loaded[source.name] = loaded.source
            _log.debug("evidence_loaded", source=source.name, contents=loaded.source.contents)

    def _publish(self) -> None:
        # Without the lock, a thread could replace a newer tuple by its older one.
        with self._lock:
            self._evidence.sources = tuple(self._loaded[name] for name in self.names if name in self._loaded)


def _file(source: EvidenceFile | FetchedEvidence) -> EvidenceFile:
    return source.file if isinstance(source, FetchedEvidence) else source
