"""Explain why an event raised an alert, or why it didn't: its recorded matches, and how each rule judges it now.

The event's org and time are looked up in `matches` and `allowed_matches`, then in the last week of `events`, a table
that is indexed by time. The event's content is requested from Okta by uuid, near the event's time if that is known. If
Okta has deleted the event or can't be reached, the event's history row is used instead.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from oktawatch.detection.allow import AllowList, Candidate, Comparison
from oktawatch.detection.explain import Condition, explain, explain_severity
from oktawatch.detection.rule import Rule, origin_of
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.okta_retention import OKTA_KEEPS, clamp_to_okta_retention
from oktawatch.engine.page_source import PageSource
from oktawatch.model.event import Event
from oktawatch.model.history import HistoryRow
from oktawatch.model.timestamps import from_text, shifted, to_text, utc_now
from oktawatch.store.allowed import allowed_matches
from oktawatch.store.database import Database
from oktawatch.store.history import StoredHistory
from oktawatch.store.matches import find_event, find_history_row, recorded_matches, recorded_signals
from oktawatch.systemlog.errors import SystemLogError
from oktawatch.systemlog.queries import bounded_query

SPAN = timedelta(days=7)
"""How far back `events` is searched for an event without a match."""
_TOLERANCE = timedelta(seconds=1)
"""The request for an event covers this long before and after the event's recorded time."""
_MAX_PAGES = 10  # to search in each org
_PAGE_SIZE = 10

is_uuid = re.compile(r"[A-Za-z0-9_.:-]{1,255}").fullmatch
"""Match a text that can be an event's uuid in a filter."""


class Verdict(Struct, frozen=True, kw_only=True):
    """One rule's judgement of an event."""

    rule_id: str
    enabled: bool
    signal: bool = False
    """Whether the rule raises no alerts."""
    recorded: bool
    """Whether the rule's match, allowed match or signal is in the database."""
    alert_id: int | None = None
    alert_status: str | None = None
    alert_title: str | None = None
    allowed_by: str | None = None
    """The id of the allow entry, if the match is recorded as allowed."""
    allowed_reason: str | None = None
    closest: Comparison | None = None
    """The allow entry that comes closest to the event now.

    None if the rule is a signal rule, there are no allow entries, or the event's content is unknown."""
    recorded_severity: str | None = None
    conditions: list[Condition] = []
    """The conditions up to the first that is not met; empty if the event's content is unknown."""
    severity: str | None = None
    """The severity that the rule would give the event now. None if the rule doesn't match or is not a `PastRule`."""
    severity_reasons: tuple[str, ...] = ()

    @property
    def matches(self) -> bool | None:
        """Whether the rule matches the event now; None if the event's content is unknown."""
        return all(condition.holds for condition in self.conditions) if self.conditions else None


class Explanation(Struct, frozen=True, kw_only=True):
    """An event, and how each rule judges it."""

    org: str
    event_uuid: str
    published: datetime
    event: dict[str, Any]
    """The fields that rules use, by the names of `history`'s columns; empty if the event's content is unknown."""
    source: str
    """The source of the fields: ``okta``, ``history`` or ``nowhere``."""
    trouble: str | None
    """Why the event could not be requested from Okta, else None."""
    verdicts: list[Verdict]


class Explainer:
    """Explains events of some orgs."""

    def __init__(
        self,
        database: DatabaseExecutor,
        sources: dict[str, PageSource],
        rules: Sequence[Rule],
        enabled: frozenset[str],
        *,
        allow: AllowList,
        org_tags: Mapping[str, Sequence[str]],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Search ``sources``, the page source of each org, and judge by all ``rules``, enabled or not.

        ``org_tags`` maps the orgs to their tags, which allow entries can name.
        """
        self._database = database
        self._sources = sources
        self._rules = rules
        self._enabled = enabled
        self._allow = allow
        self._org_tags = org_tags
        self._now = now

    async def explain(self, event_uuid: str) -> Explanation | None:
        """Explain one event; return None if neither the database nor Okta has it.

        Raises StoreError, and SystemLogError if the event was found nowhere and a request to Okta failed.
        """
        key = list(self._sources), [rule.id for rule in self._rules], event_uuid
        found = await self._database.run(recorded_matches, *key)
        found += await self._database.run(allowed_matches, *key)
        place = (found[0]["org"], from_text(found[0]["published"])) if found else None
        if place is None:
            place = await self._database.run(
                find_event, list(self._sources), event_uuid, since=self._now() - SPAN
            )
        trouble = None
        event = None
        try:
            org, event = await self._fetch_event(event_uuid, place)
        except SystemLogError as error:
            if place is None:
                raise
            org, trouble = place[0], str(error)
        if event is None and place is None:
            return None
        published = event.published_at if event is not None else place[1] if place else self._now()
        return await self._database.run(
            self._judge,
            org,
            event_uuid,
            published,
            event,
            trouble,
            {match["rule_id"]: match for match in found},
        )

    async def _fetch_event(
        self, event_uuid: str, place: tuple[str, datetime] | None
    ) -> tuple[str, Event | None]:
        """Return the event and its org. Raises SystemLogError if the event was not found and an org couldn't be asked."""
        now = self._now()
        since = clamp_to_okta_retention(now - OKTA_KEEPS, now)
        orgs, until = list(self._sources), now
        if place is not None:
            around = to_text(place[1])  # shifted() stays within the calendar: an event's time can be anything
            orgs, since, until = (
                [place[0]],
                from_text(shifted(around, -_TOLERANCE)),
                from_text(shifted(around, _TOLERANCE)),
            )
        query = bounded_query(since=since, until=until, filter=f'uuid eq "{event_uuid}"', limit=_PAGE_SIZE)
        failure: SystemLogError | None = None
        for org in orgs:
            try:
                event = await self._search(org, query, event_uuid)
            except SystemLogError as error:
                failure = failure or error
            else:
                if event is not None:
                    return org, event
        if failure is not None:
            raise failure
        return orgs[-1], None

    async def _search(self, org: str, query: str, event_uuid: str) -> Event | None:
        """Return the event if it is on one of the query's first pages."""
        following: str | None = query
        for _ in range(_MAX_PAGES):
            if following is None:
                break
            page = await self._sources[org].page(following)
            for event in page.events:
                if event.uuid == event_uuid:
                    return event
            following = page.next
        return None

    def _judge(
        self,
        database: Database,
        org: str,
        event_uuid: str,
        published: datetime,
        event: Event | None,
        trouble: str | None,
        found: dict[str, dict[str, Any]],
    ) -> Explanation:
        source = "okta"
        row = None if event is None else HistoryRow.of(event)
        if row is None:
            row = find_history_row(database, org, published, event_uuid)
            source = "nowhere" if row is None else "history"
        signals = recorded_signals(database, org, published, event_uuid)
        with database.read() as connection:
            history = StoredHistory(connection, org)
            verdicts = [
                _verdict(
                    rule,
                    row,
                    history,
                    enabled=rule.id in self._enabled,
                    match=found.get(rule.id, {}),
                    recorded=rule.id in found or rule.id in signals,
                    closest=None if row is None else self._closest(rule, org, published, row),
                )
                for rule in self._rules
            ]
        columns = {} if row is None else dict(zip(HistoryRow.__struct_fields__, row.columns, strict=False))
        return Explanation(
            org=org,
            event_uuid=event_uuid,
            published=published,
            event=columns,
            source=source,
            trouble=trouble,
            verdicts=verdicts,
        )

    def _closest(self, rule: Rule, org: str, published: datetime, row: HistoryRow) -> Comparison | None:
        if rule.signal:
            return None
        candidate = Candidate(
            org=org,
            tags=self._org_tags[org],
            rule_id=rule.id,
            published=published,
            origin=origin_of(rule, row.full_event(), partial_event=row.event is None),
        )
        return self._allow.closest(candidate)


def _verdict(
    rule: Rule,
    row: HistoryRow | None,
    history: StoredHistory,
    *,
    enabled: bool,
    match: Mapping[str, Any],
    recorded: bool,
    closest: Comparison | None,
) -> Verdict:
    """Judge an event by a rule. ``match`` is the recorded match, empty if there is none."""
    conditions = [] if row is None else explain(rule, row, history)
    is_match = bool(conditions) and all(condition.holds for condition in conditions)
    graded = explain_severity(rule, row, history) if row is not None and is_match else None
    return Verdict(
        rule_id=rule.id,
        enabled=enabled,
        signal=rule.signal,
        recorded=recorded,
        alert_id=match.get("alert_id"),
        alert_status=match.get("status"),
        alert_title=match.get("title"),
        allowed_by=match.get("entry"),
        allowed_reason=match.get("reason"),
        closest=closest,
        recorded_severity=match.get("severity"),
        conditions=conditions,
        severity=str(graded.severity) if graded else None,
        severity_reasons=graded.reasons if graded else (),
    )
