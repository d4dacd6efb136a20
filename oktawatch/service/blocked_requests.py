"""Find requests from anonymizers that Okta itself blocks, for `oktawatch check`.

Once a network zone blocks anonymizers, sign-ins through them never begin, and a rule about sign-ins falls silent. So
`check` recommends the rule about blocked requests if that rule would find something.
"""

import asyncio
from datetime import datetime, timedelta

from oktawatch.detection.event_types import scim_filter
from oktawatch.detection.rule import EventRule
from oktawatch.engine.page_source import PageSource
from oktawatch.systemlog.errors import TimedOutError
from oktawatch.systemlog.queries import bounded_query

SEARCH_PERIOD = timedelta(days=7)
SAMPLE = 100
"""The maximum number of events to evaluate: the first ones of the period, in one request to Okta."""
_TIMEOUT_S = 20.0


async def count_blocked_requests(
    source: PageSource, rule: EventRule, now: datetime, *, timeout_s: float = _TIMEOUT_S
) -> int:
    """Count a rule's matches among the first ``SAMPLE`` events of its event types in ``SEARCH_PERIOD``.

    Raises SystemLogError, also if no answer arrives within ``timeout_s``. This includes waiting for Okta's rate limit.
    """
    query = bounded_query(
        since=now - SEARCH_PERIOD, until=now, filter=scim_filter(rule.needed_types()), limit=SAMPLE
    )
    try:
        async with asyncio.timeout(timeout_s):
            page = await source.page(query)
    except TimeoutError:
        raise TimedOutError(f"no answer within {timeout_s:g} s") from None
    return sum(rule.matches(event) for event in page.events)
