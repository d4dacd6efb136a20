"""Poll a scripted source of pages."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from oktawatch.detection.registry import RuleSet, build_rules
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pipeline import Watch
from oktawatch.engine.poll import Poller
from oktawatch.systemlog.page import Page
from tests.support.databases import NOW, ORG
from tests.support.streams import Script

RULES = build_rules({}, read_file=lambda _path: "")
STALE = "/api/v1/logs?after=stale"


def poller(
    source: Any,
    database: DatabaseExecutor,
    *,
    rules: RuleSet = RULES,
    now: datetime = NOW,
    page_size: int = 1000,
) -> Poller:
    """Create a poller with a stopped clock."""
    return Poller(
        source,
        database,
        Watch(org=ORG, rules=rules),
        page_size=page_size,
        initial_lookback=timedelta(hours=24),
        now=lambda: now,
    )


def parameters(query: str) -> dict[str, str]:
    """Return the parameters of a query."""
    return {name: values[0] for name, values in parse_qs(urlsplit(query).query).items()}


def script(pages: list[Page], **more: Any) -> Script:
    """Return a source that serves these pages in order."""
    return Script({each.query: each for each in pages} | more, first=pages[0])
