"""An org's health: when it is behind, failing or unusable."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from oktawatch.engine.health import OrgHealth, judge
from oktawatch.store.status import OrgStatus

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
INTERVAL = timedelta(seconds=30)
LONGEST = 3 * INTERVAL + timedelta(seconds=60)


def health(**known: Any) -> OrgHealth:
    """Judge an org with this poll state."""
    nothing: dict[str, Any] = dict.fromkeys(OrgStatus.__struct_fields__)
    return judge(
        OrgStatus(**nothing | {"org": "acme", "recent_elements": 0, "recent_rejected": 0} | known),
        interval=INTERVAL,
        now=NOW,
    )


@pytest.mark.parametrize(
    ("lag", "behind"),
    [
        (timedelta(), False),
        (LONGEST, False),
        (LONGEST + timedelta(milliseconds=1), True),
        (timedelta(days=9), True),
    ],
)
def test_an_org_is_behind_after_three_intervals_and_a_minute(lag: timedelta, behind: bool) -> None:
    """An org is behind if its lag is more than three intervals and a minute."""
    found = health(last_poll_at=NOW, last_caught_up_at=NOW - lag)

    assert (found.lag, found.behind, found.good) == (lag, behind, not behind)
    assert bool(found.problems) is behind


@pytest.mark.parametrize(
    ("ahead", "behind"),
    [(timedelta(seconds=30), False), (timedelta(seconds=61), True), (timedelta(days=1), True)],
)
def test_a_poll_in_the_future_is_not_fresh(ahead: timedelta, behind: bool) -> None:
    """An org whose last poll that caught up is dated in the future is behind, and its lag is unknown."""
    found = health(last_poll_at=NOW + ahead, last_caught_up_at=NOW + ahead)

    assert (found.lag is None, found.behind, found.good) == (behind, behind, not behind)
    assert ["dated in the future" in problem for problem in found.problems] == [True] * behind


def test_a_long_lag_is_shown_without_seconds() -> None:
    """A long lag is shown without seconds."""
    found = health(last_poll_at=NOW, last_caught_up_at=NOW - timedelta(days=2, hours=14, seconds=3))

    assert found.problems == ("no poll has caught up for 2d (limit: 150s)",)


def test_an_org_that_was_never_polled_is_behind() -> None:
    """A configured org that was never polled is behind, with the reason."""
    for found in (health(), judge(None, interval=INTERVAL, now=NOW)):
        assert (found.lag, found.behind, found.failing) == (None, True, False)
        assert found.problems == ("it was never polled",)


def test_an_org_that_never_caught_up_is_behind() -> None:
    """An org whose first polls have not reached the end yet is behind."""
    assert health(last_poll_at=NOW).problems == ("no poll has caught up yet",)


def test_an_org_whose_last_poll_failed_is_failing() -> None:
    """An org whose last poll failed is failing at once, before it is behind."""
    found = health(last_poll_at=NOW, last_caught_up_at=NOW - INTERVAL, last_error="Okta refuses the token")

    assert (found.behind, found.failing, found.good) == (False, True, False)
    assert found.problems == ("the last poll failed: Okta refuses the token",)


def test_the_lag_is_unknown_if_the_last_poll_is_in_the_future() -> None:
    """The lag is None, and not negative, if the last poll is in the future."""
    assert health(last_poll_at=NOW, last_caught_up_at=NOW + INTERVAL).lag == timedelta()


@pytest.mark.parametrize(
    ("elements", "rejected", "unusable"), [(2, 2, False), (3, 3, True), (100, 10, False), (100, 11, True)]
)
def test_an_org_with_many_unusable_events_is_unusable(elements: int, rejected: int, unusable: bool) -> None:
    """An org is unusable if more than a tenth of its events can't be used, but not for a single one."""
    found = health(
        last_poll_at=NOW, last_caught_up_at=NOW, recent_elements=elements, recent_rejected=rejected
    )
    assert (found.unusable, found.good, bool(found.problems)) == (unusable, not unusable, unusable)
