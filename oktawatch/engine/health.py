"""Judge an org's health from the database.

The lag of an org is the time since a poll last caught up. The org is *behind* when its lag is more than three poll
intervals and a minute, or when no poll ever caught up. A quiet org is not behind, because a poll without events has
caught up. If the last poll that caught up is dated over a minute in the future, the org is behind: the clock was or is
wrong, so the lag is unknown.
"""

from datetime import datetime, timedelta

from msgspec import Struct

from oktawatch.engine.okta_retention import OKTA_KEEPS
from oktawatch.model.durations import approximate_text, format_duration
from oktawatch.model.rejected_share import RejectedShare
from oktawatch.model.timestamps import to_text
from oktawatch.store.status import PollState

_INTERVALS = 3
_GRACE = timedelta(seconds=60)
"""Tolerated lag beyond the poll intervals. A poll may also be dated this far in the future."""
_WARNING = timedelta(days=15)
"""`status` warns this long before Okta deletes unread events."""


class OrgHealth(Struct, frozen=True, kw_only=True):
    """The health of an org at a point in time."""

    lag: timedelta | None
    """The time since a poll last caught up; None if no poll ever did, or if that poll is dated over a minute in the future."""
    behind: bool
    failing: bool
    """Whether the last poll failed."""
    unusable: bool
    """Whether too many of the recently polled events can't be used."""
    problems: tuple[str, ...]
    """One line for people for each problem."""

    @property
    def good(self) -> bool:
        """Whether the org is neither behind nor failing, and its events can be used."""
        return not (self.behind or self.failing or self.unusable)


def judge(status: PollState | None, *, interval: timedelta, now: datetime) -> OrgHealth:
    """Judge an org. ``status`` is None if the database has no row for the org.

    ``interval`` is the configured time from one poll to the next.
    """
    caught_up = status.last_caught_up_at if status else None
    error = status.last_error if status else None
    in_future = caught_up if caught_up and caught_up > now + _GRACE else None
    lag = max(now - caught_up, timedelta()) if caught_up and not in_future else None
    longest = _INTERVALS * interval + _GRACE
    behind = lag is None or lag > longest
    problems = []
    if status is None or status.last_poll_at is None:
        problems.append("it was never polled")
    elif in_future:
        problems.append(
            f"the last poll that caught up is dated in the future, at {to_text(in_future)}: the clock was "
            "set back, or was ahead then. The next poll that catches up corrects it"
        )
    elif lag is None:
        problems.append("no poll has caught up yet")
    elif behind:
        problems.append(
            f"no poll has caught up for {approximate_text(lag)} (limit: {format_duration(longest)})"
        )
    if lag is not None and lag > OKTA_KEEPS - _WARNING:
        problems.append(
            f"Okta keeps events for {OKTA_KEEPS.days} days: it starts to delete unread events at "
            f"{to_text(now - lag + OKTA_KEEPS)}"
        )
    if error:
        problems.append(f"the last poll failed: {error}")
    share = RejectedShare(
        elements=status.recent_elements if status else 0, rejected=status.recent_rejected if status else 0
    )
    if share.too_large:
        problems.append(
            f"{share}: see the table rejected_events for the reasons; check whether a proxy changes responses, or "
            "whether a newer oktawatch supports a new format"
        )
    return OrgHealth(
        lag=lag,
        behind=behind,
        failing=error is not None,
        unusable=share.too_large,
        problems=tuple(problems),
    )
