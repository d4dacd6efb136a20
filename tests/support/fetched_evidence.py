"""Sources of evidence that are fetched from a publisher."""

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
from pydantic import SecretStr

from oktawatch.engine import evidence_updates
from oktawatch.engine.evidence_files import EvidenceFile
from oktawatch.engine.evidence_updates import FetchedEvidence
from oktawatch.model.anonymizer_kind import AnonymizerKind as Kind
from oktawatch.notify.channel import DIRECT
from oktawatch.service.download import download
from tests.support.publisher import Publisher

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
DAY = timedelta(hours=24)
KEY = "invented-licence-key"
ADDRESS = "203.0.113.7"
"""The address of the events of these tests."""
OLD = "".join(f"198.51.100.{n}\n" for n in range(10))
NEW = OLD + f"{ADDRESS}\n"


def source_of(
    publisher: Publisher, folder: Path, *, query: str = f"?key={KEY}", **changes: object
) -> FetchedEvidence:
    """Return a source with the publisher's URL, which contains a licence key."""
    url = publisher.url + query
    file = msgspec.structs.replace(
        EvidenceFile(name="exits", path=folder / "exits", kind=Kind.TOR, operator="Tor"), **changes
    )
    limit = evidence_updates.LARGEST[file.format]
    fetch = partial(download, SecretStr(url), way=lambda _: DIRECT, limit=limit)
    return FetchedEvidence(file, refresh=DAY, url=url, fetch=fetch)


async def update(source: FetchedEvidence, after: timedelta = timedelta()) -> bool:
    """Update a source at a time."""
    return await source.update(now=lambda: NOW + after)


def size_of(source: FetchedEvidence) -> int | None:
    """Return the size of the source as it can be loaded."""
    loaded = source.load()
    assert loaded.problem is None
    return None if loaded.source is None else loaded.source.size
