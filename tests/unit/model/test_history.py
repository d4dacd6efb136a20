"""The history row of an event."""

import sys

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.model.event import Event
from oktawatch.model.history import COLUMNS, HistoryRow, memory_of

TUNNELS = (
    '[{"anonymous":true,"operator":"NORDVPN_VPN","type":"VPN"},{"anonymous":false,"operator":"EXAMPLE_CORP"}]'
)
BODY = {
    "uuid": "e-1",
    "published": "2026-11-02T12:00:00.123Z",
    "eventType": "user.session.start",
    "actor": {"id": "00u1", "alternateId": "nora@example.com", "displayName": "Nora Vale"},
    "client": {
        "ipAddress": "203.0.113.7",
        "userAgent": {"rawUserAgent": "ExampleBrowser/1.0"},
        "geographicalContext": {"country": "Norway", "city": "Bergen"},
        "device": "Computer",
        "zone": "Office",
    },
    "device": {"id": "guo1"},
    "target": [
        {"id": "00u2", "type": "User", "alternateId": "eve@example.com"},
        {"id": "0oa1", "type": "AppInstance", "displayName": "Example Mail"},
    ],
    "outcome": {"result": "FAILURE", "reason": "INVALID_CREDENTIALS"},
    "authenticationContext": {"externalSessionId": "s1", "rootSessionId": "r1", "credentialType": "OTP"},
    "securityContext": {"isProxy": True, "risk": {"level": "high"}, "asNumber": 64500},
    "debugContext": {
        "debugData": {
            "dtHash": "h1",
            "requestApiTokenId": "00T1",
            "tunnels": TUNNELS,
            "behaviors": "{New IP=POSITIVE, New City=POSITIVE, A=NEGATIVE}",
        }
    },
}
COLUMNS_OF_BODY = (
    "2026-11-02T12:00:00.123Z", "e-1", "user.session.start", "00u1", "nora@example.com", "Nora Vale", "203.0.113.7",
    "ExampleBrowser/1.0", "s1", "r1", "h1", "FAILURE", "INVALID_CREDENTIALS", True, "HIGH", '["New City","New IP"]',
    "Norway", "Bergen", 64500, '["NORDVPN_VPN"]', "00u2", "User", "Example Mail", "OTP", "guo1", "00T1", "Computer", "Office",
    True, None, None,
)  # fmt: skip
BARE = {"uuid": "e-1", "published": "0001-01-01T00:00:00.000Z"}


def test_a_row_has_the_values_of_all_columns() -> None:
    """A row has the columns' values in order, and its event."""
    event = Event.from_body(BODY)
    row = HistoryRow.of(event)
    assert row.columns == COLUMNS_OF_BODY
    assert row.full_event() is event


def test_an_event_rebuilt_from_a_row_has_the_same_columns() -> None:
    """An event that is rebuilt from a stored row has the same columns."""
    for body in (BODY, BARE):
        row = HistoryRow(*HistoryRow.of(Event.from_body(body)).columns)
        assert row.event is None
        again = row.full_event()
        assert HistoryRow.of(again).columns == row.columns
        assert again.as_org is None


@given(
    st.sets(st.sampled_from(["anonymous_tunnel", "anonymous_service", "associated_proxy"])),
    st.sampled_from([None, '["A_VPN","B_PROXY"]']),
)
def test_a_rebuilt_event_has_the_same_signals_and_operators(signals: set[str], operators: str | None) -> None:
    """An event from a row has the same signals; proxies and operators imply each other."""
    if "associated_proxy" in signals and operators is None:
        operators = '["A_VPN"]'
    if not signals:
        operators = None
    row = HistoryRow(BARE["published"], "e-1", "x", operators=operators)
    for name in signals:
        setattr(row, name, True)
    assert HistoryRow.of(row.full_event()).columns == row.columns


def test_the_operators_of_an_older_row_are_kept() -> None:
    """A row without the columns of the anonymizer marks keeps its operators when it is rebuilt."""
    row = HistoryRow(BARE["published"], "e-1", "x", operators='["A_VPN"]')
    assert row.full_event().operators == '["A_VPN"]'


def test_a_row_of_a_bare_event_is_empty() -> None:
    """The row of an event without fields contains only None."""
    row = HistoryRow.of(Event.from_body(BARE))
    assert row.columns == ("0001-01-01T00:00:00.000Z", "e-1", "", *[None] * (len(COLUMNS) - 3))
    assert row.observed() == frozenset()


def test_a_session_without_a_root_is_its_own_root() -> None:
    """A session without a root session is its own root."""
    for unknown in ("unknown", None, ""):
        context = {"externalSessionId": "s1", "rootSessionId": unknown}
        assert (
            HistoryRow.of(Event.from_body(BODY | {"authenticationContext": context})).root_session_id == "s1"
        )


def test_a_login_that_may_be_a_password_is_redacted_in_history() -> None:
    """A login that may be a password is redacted in the history row, too."""
    actor = {"id": "unknown", "alternateId": "hunter2!", "displayName": "hunter2!"}
    row = HistoryRow.of(Event.from_body(BODY | {"actor": actor}))
    assert "hunter2!" not in row.columns
    assert row.actor_alternate_id == "redacted"


texts = st.text(st.characters(codec="utf-8"))


@given(
    st.lists(
        st.builds(HistoryRow, texts, texts, texts, user_agent=st.none() | texts.map(lambda text: text * 60))
    )
)
def test_the_estimated_memory_of_rows_is_an_upper_bound(rows: list[HistoryRow]) -> None:
    """The estimated memory of rows is never below their actual memory."""
    msgspec.json.encode([row.columns for row in rows])  # fills the UTF-8 caches of the strings
    texts = sum(sys.getsizeof(value) for row in rows for value in row.columns if isinstance(value, str))
    assert memory_of(rows) >= sum(map(sys.getsizeof, rows)) + texts
