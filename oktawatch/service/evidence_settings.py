"""Build the sources of evidence that the settings describe."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from oktawatch.config.evidence import EvidenceSettings, EvidenceSourceSettings
from oktawatch.engine.evidence_files import EvidenceFile
from oktawatch.engine.evidence_updates import LARGEST, FetchedEvidence, folder_name
from oktawatch.model.anonymizer_kind import AnonymizerKind
from oktawatch.notify.channel import Way
from oktawatch.service.download import download


def evidence_sources(
    settings: EvidenceSettings, *, base: Path, state: Path, way: Callable[[SecretStr], Way]
) -> list[EvidenceFile | FetchedEvidence]:
    """Build the sources in their order.

    Paths are relative to ``base``. Fetched files are kept in the folder ``evidence`` in ``state``. ``way`` selects the
    proxy and the TLS context for a URL.
    """
    return [
        _fetched(source, state / "evidence", refresh=settings.refresh, way=way)
        if source.has_secret("url")
        else _file(source, base / source.path)
        for source in settings.sources
    ]


def _file(source: EvidenceSourceSettings, path: Path) -> EvidenceFile:
    return EvidenceFile(
        name=source.name,
        path=path,
        format=source.format,
        kind=source.kind or AnonymizerKind.UNKNOWN,
        operator=source.operator or None,
    )


def _fetched(
    source: EvidenceSourceSettings, folder: Path, *, refresh: timedelta, way: Callable[[SecretStr], Way]
) -> FetchedEvidence:
    file = _file(source, folder / folder_name(source.name))
    if source.url is None:  # a command without permission to read the file of the URL can list the source
        return FetchedEvidence(file, refresh=refresh)
    fetch = partial(download, source.url, way=way, limit=LARGEST[source.format])
    return FetchedEvidence(file, refresh=refresh, url=source.url.get_secret_value(), fetch=fetch)
