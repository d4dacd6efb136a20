"""Update the sources of evidence that have a URL: in the daemon's rounds, or once."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import structlog
from msgspec import Struct

from oktawatch.engine.evidence_sources import EvidenceSources
from oktawatch.engine.evidence_updates import EvidenceUpdateError, FetchedEvidence, UpdateRunningError
from oktawatch.model.timestamps import utc_now
from oktawatch.service.failure_log import FailureLog
from oktawatch.service.supervised import Supervised

_log: Any = structlog.get_logger(__name__)

INTERVAL = timedelta(minutes=1)
"""Time between two rounds."""


class EvidenceUpdate(Supervised[bool]):
    """The updates of one source."""

    def __init__(
        self, source: FetchedEvidence, sources: EvidenceSources, *, now: Callable[[], datetime] = utc_now
    ) -> None:
        """Update ``source``, which is one of ``sources``."""
        super().__init__(FailureLog("evidence_update", source=source.name))
        self._source = source
        self._sources = sources
        self._now = now

    async def round(self) -> None:
        """Fetch the source if it is due. Load its file if this or another process has changed it. Never fails."""
        try:
            due = await asyncio.to_thread(self._source.is_due, self._now())
        except OSError:
            due = True  # the update reports the problem
        if due:
            with suppress(UpdateRunningError):
                await self.attempt(self._update)
        with suppress(OSError):
            await asyncio.to_thread(self._sources.reload, self._source)

    async def _update(self) -> bool:
        return await self._source.update(now=self._now)

    def succeeded(self, changed: bool) -> None:
        """Log a change."""
        if changed:
            _log.info("evidence_updated", source=self._source.name)


class UpdateOutcome(Struct, frozen=True, kw_only=True):
    """The outcome of one source's update."""

    name: str
    changed: bool = False
    problem: str | None = None
    """Why the update failed, or that another process is updating the source."""


async def update_once(sources: Sequence[FetchedEvidence]) -> list[UpdateOutcome]:
    """Update sources concurrently, whether they are due or not."""
    return await asyncio.gather(*map(_update, sources))


async def _update(source: FetchedEvidence) -> UpdateOutcome:
    try:
        return UpdateOutcome(name=source.name, changed=await source.update())
    except (EvidenceUpdateError, UpdateRunningError) as error:
        return UpdateOutcome(name=source.name, problem=str(error))
