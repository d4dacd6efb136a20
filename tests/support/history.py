"""Draw rows of history, and compare them."""

from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from oktawatch.model.history import ROW_BYTES, HistoryRow
from oktawatch.model.timestamps import to_text
from tests.support.properties import examples
from tests.unit.detection.events import NOON

MAX_BYTES = 100 * 30_000
"""More bytes than the rows of any test, however long their texts."""
SHORT_ROW_BYTES = ROW_BYTES + 100
"""More bytes than a row with short texts."""
properties = settings(
    deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
row_values = st.builds(
    HistoryRow,
    published=st.integers(0, 6).map(lambda n: to_text(NOON + n * timedelta(minutes=1))),
    uuid=st.sampled_from("abcdef"),
    event_type=st.sampled_from(["user.session.start", "user.authentication.sso", "user%", "zone.update"]),
    actor_id=st.sampled_from(["00u1", "00u2", None]),
    client_ip=st.sampled_from(["203.0.113.7", None]),
    is_proxy=st.sampled_from([True, False, None]),
    anonymous_tunnel=st.sampled_from([True, None]),
    behaviours=st.sampled_from(['["New Device"]', None]),
)
any_true = st.sampled_from([(), ("is_proxy",), ("is_proxy", "anonymous_tunnel"), ("anonymous_tunnel",)])
moments = st.integers(-1, 7).map(lambda n: to_text(NOON + n * timedelta(minutes=1)))


def sorted_columns(found: Any) -> list[tuple[Any, ...]]:
    """Return the columns of the distinct rows, sorted."""
    return sorted({row.columns for row in found}, key=str)
