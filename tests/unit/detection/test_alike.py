"""A predicate that says what it decides by is asked once for events alike in that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.detection.alike import PageRows, alike, columns_of, decides_by
from oktawatch.detection.registry import configured_rules
from oktawatch.detection.rule import EventRule
from oktawatch.detection.rules.failed_logins_unknown_user import FailedLoginsUnknownUser
from oktawatch.detection.rules.high_risk_admin_activity import HighRiskAdminActivity
from oktawatch.detection.windows import WindowRule
from oktawatch.model.history import COLUMNS, HistoryRow

TEXTS = st.sampled_from(["SUCCESS", "ALLOW", "HIGH", "INVALID_CREDENTIALS", "VERIFICATION_ERROR"])
TYPES = st.sampled_from(
    ["user.session.start", "USER.SESSION.START", "system.api_token.create", "zone.update"]
)
OTHERS = {
    "is_proxy": st.booleans() | st.none(),
    "behaviours": st.sampled_from(
        [None, '["New Country","New Device","New Geo-Location"]', '["New Device"]']
    ),
}
COLUMN_NAMES = HistoryRow.__struct_fields__[3:COLUMNS]
ROWS = st.lists(
    st.builds(
        HistoryRow,
        st.just("2026-11-02T12:00:00.000Z"),
        st.uuids().map(str),
        TYPES,
        **{name: OTHERS.get(name, TEXTS | st.none()) for name in COLUMN_NAMES},
    )
)
BUILT = list(configured_rules({}, read_file=str).values())


def fail(*said: object) -> None:
    """Take no report."""
    raise AssertionError(said)


@pytest.mark.parametrize(
    "rule", [rule for rule in BUILT if isinstance(rule, WindowRule)], ids=lambda rule: rule.id
)
@given(rows=ROWS)
def test_what_takes_part_is_what_the_rule_takes(rule: WindowRule, rows: list[HistoryRow]) -> None:
    """Whether it is asked for each event or for each sort."""
    wanted = rule.wants()
    expected = [
        row for row in rows if wanted(row.event_type) and rule.takes(row) and None not in rule.key(row)
    ]
    assert [row for _, row in rule.parts(rows, fail)] == expected


@pytest.mark.parametrize(
    "rule", [rule for rule in BUILT if isinstance(rule, EventRule)], ids=lambda rule: rule.id
)
@given(rows=ROWS)
def test_what_is_recognised_is_what_the_rule_matches(rule: EventRule, rows: list[HistoryRow]) -> None:
    """Whether it is asked for each event or for each sort."""
    events = [row.whole() for row in rows]
    for row, event in zip(rows, events, strict=True):
        row.event = event
    expected = [event for event in events if rule.matches(event) and event.event_type in rule.event_types]
    assert list(rule.recognised(events, fail, rows=rows)) == list(rule.recognised(events, fail)) == expected


@decides_by("outcome")
def _hasty(row: HistoryRow) -> bool:
    return row.outcome == "FAILURE" and row.actor_id == "00u1"


@decides_by("outcome")
def _refused(row: HistoryRow) -> bool:
    return row.outcome != "SUCCESS"


def test_a_predicate_sees_only_what_it_says_that_it_reads() -> None:
    """So one that reads more can't go unnoticed: it holds of nothing."""
    row = HistoryRow("", "e-1", "zone.update", actor_id="00u1", outcome="FAILURE")
    assert _hasty(row)
    assert columns_of(_hasty) == ("outcome",)
    assert alike([row], columns_of(_hasty), _hasty, fail) == []


def test_any_column_can_be_decided_by() -> None:
    """The event type, which all are shown, and the key, of which each event has its own."""
    row = HistoryRow("2026-11-02T12:00:00.000Z", "e-1", "zone.update")
    for name in HistoryRow.__struct_fields__[:COLUMNS]:
        shown = decides_by(name)(lambda one, name=name: getattr(one, name) == getattr(row, name))
        assert alike([row], columns_of(shown), shown, fail) == [row]


def test_a_predicate_is_asked_once_for_events_alike() -> None:
    """However many there are on a page; what it raises is told once."""
    asked, told = [], []

    @decides_by("outcome")
    def broken(row: HistoryRow) -> bool:
        asked.append(row.outcome)
        return 1 / 0 > 1

    rows = [HistoryRow("", f"e-{number}", "zone.update", outcome="FAILURE") for number in range(100)]
    failed = lambda uuid, error: told.append((uuid in {row.uuid for row in rows}, type(error)))  # noqa: E731 -- a callback
    assert alike(rows, columns_of(broken), broken, failed) == []
    assert (asked, told) == (["FAILURE"], [(True, ZeroDivisionError)])


def test_who_overrides_a_predicate_says_anew_what_it_reads() -> None:
    """What the predicate before it read says nothing of this one."""

    class OneUser(FailedLoginsUnknownUser):
        def takes(self, row: HistoryRow) -> bool:
            return row.actor_id == "00u1"

    class OnePair(HighRiskAdminActivity):
        def takes(self, row: HistoryRow) -> bool:
            return row.actor_id == "00u1"

    assert FailedLoginsUnknownUser().decided_by() == ("outcome_reason",)
    assert HighRiskAdminActivity().decided_by() == ("outcome", "risk")
    assert OneUser().decided_by() is OnePair().decided_by() is None


def test_a_column_that_history_lacks_is_refused_at_once() -> None:
    """Where the rule is written."""
    with pytest.raises(ValueError, match=r"history has no country; there are: published, uuid, "):
        decides_by("outcome", "country")


@given(rows=ROWS)
def test_sorting_a_page_once_changes_nothing(rows: list[HistoryRow]) -> None:
    """Whether a predicate's columns are among those of the page, and however many sorts it has."""
    for names in (("outcome", "risk"), ("outcome", "actor_id"), ("risk",), ()):
        page = PageRows(rows, names)
        assert list(alike(page, ("outcome",), _refused, fail)) == [row for row in rows if _refused(row)]


def test_sorts_are_shared_where_they_are_few() -> None:
    """A rule that names a column with a value for each event costs the others nothing."""
    rows = [HistoryRow("", f"e-{number}", "zone.update", actor_id=f"00u{number}") for number in range(100)]
    assert PageRows(rows, ("outcome", "risk")).tells(("risk",))
    assert not PageRows(rows, ("outcome", "actor_id")).tells(("outcome",))
    assert not PageRows(rows, ("outcome",)).tells(("risk",))
