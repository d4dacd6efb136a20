"""Read the facts about alerts that a report counts."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import select

from oktawatch.model.alert import AlertStatus
from oktawatch.model.alert_fact import AlertFact
from oktawatch.store import tables
from oktawatch.store.database import Database

_ROWS_AT_ONCE = 2_000
_columns = tables.alerts.c


def alert_facts(
    database: Database, *, since: datetime, until: datetime, orgs: Sequence[str] = ()
) -> Iterator[AlertFact]:
    """Yield the facts about alerts whose earliest event is in a period, without pending alerts.

    The transaction lasts until the end of the iteration, so don't wait for anything in between.
    """
    query = select(*(_columns[name] for name in AlertFact.__struct_fields__)).where(
        _columns.status != AlertStatus.PENDING,
        _columns.first_event_at >= since,
        _columns.first_event_at < until,
    )
    if orgs:
        query = query.where(_columns.org.in_(orgs))
    with database.read() as connection:
        rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query)
        yield from (AlertFact(**row) for row in rows.mappings())
