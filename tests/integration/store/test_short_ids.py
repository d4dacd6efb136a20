"""Notifications are found by unique prefixes of their ids."""

import uuid
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oktawatch.model.notification import NotificationKind, NotificationState
from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.short_ids import SHORTEST, NotificationIdError, find_ids, short_ids
from tests.support.databases import NOW, empty, open_database
from tests.support.places import Place


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    """Open a database of either kind."""
    with open_database(place) as made:
        yield made


def put(database: Database, ids: list[str]) -> None:
    """Insert notifications without an alert."""
    rows = [
        {
            "id": one,
            "notifier": "soc",
            "kind": NotificationKind.TEST,
            "state": NotificationState.PENDING,
            "attempts": 0,
            "created_at": NOW,
            "late": False,
        }
        for one in ids
    ]
    with database.write() as connection:
        connection.execute(tables.notifications.insert(), rows)


# Few different prefixes, so that many ids share one, some up to the last character.
similar_ids = st.lists(
    st.builds(
        lambda kept, base, rest: str(uuid.UUID(int=(base << (4 * kept)) | (rest & ((1 << (4 * kept)) - 1)))),
        st.sampled_from([0, 1, 8, 23, 24, 25]),
        st.sampled_from([0, 1]),
        st.integers(0, 2**128 - 1),
    ),
    min_size=1,
    max_size=8,
    unique=True,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(similar_ids)
def test_a_short_id_identifies_one_notification(database: Database, ids: list[str]) -> None:
    """A short id is the shortest unique prefix of at least eight characters."""
    empty(database)
    put(database, ids)
    short = short_ids(database, ids)

    assert find_ids(database, [short[one] for one in ids]) == ids
    for one in ids:
        others = [other for other in ids if other != one]
        alone = (
            length
            for length in range(SHORTEST, 37)
            if not any(other.startswith(one[:length]) for other in others)
        )
        assert len(short[one]) == next(alone)


def test_an_ambiguous_id_is_refused_with_longer_ones(database: Database) -> None:
    """The error lists longer, unique prefixes."""
    first, second = (f"3f0c9a54-{end}-5a51-9d5e-0c1f9a3b7e21" for end in ("6f0e", "7a11"))
    put(database, [first, second])

    with pytest.raises(
        NotificationIdError, match=r"ambiguous id \(3f0c9a54\): .* 3f0c9a54-6f0, 3f0c9a54-7a1"
    ):
        find_ids(database, ["3f0c9a54"])
    assert find_ids(database, ["3f0c9a54-7", first]) == [second, first]


@pytest.mark.parametrize(
    "text", ["", "3f0c9a5", "3f0c9a54x", "%", "3f0c9a54%", "3f0c9a54-6f0e-5a51-9d5e-0c1f9a3b7e211"]
)
def test_an_invalid_id_finds_nothing(database: Database, text: str) -> None:
    """A pattern, or a text that is too short or too long, matches no id."""
    put(database, ["3f0c9a54-6f0e-5a51-9d5e-0c1f9a3b7e21"])

    with pytest.raises(NotificationIdError, match="no such notification"):
        find_ids(database, [text])
