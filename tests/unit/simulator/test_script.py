"""The selection of the requests that get a fault."""

from collections import Counter
from datetime import timedelta

import pytest

from oktawatch.simulator import faults
from oktawatch.simulator.faults import Script
from tests.support.logclient import NOW, Clock

LOGS = "/api/v1/logs"
SECOND = timedelta(seconds=1)


@pytest.fixture
def clock() -> Clock:
    """Return the script's clock."""
    return Clock()


@pytest.fixture
def script(clock: Clock) -> Script:
    """Return an empty script."""
    return Script(clock)


def drawn(script: Script, count: int, *, path: str = LOGS, has_cursor: bool = True) -> list[str | None]:
    """Return the names of the faults that the next requests get."""
    found = [script.draw(path, has_cursor=has_cursor) for _ in range(count)]
    return [None if fault is None else fault.name for fault in found]


def test_an_empty_script_injects_no_fault(script: Script) -> None:
    """Without a script, all requests are answered normally."""
    assert drawn(script, 3) == [None] * 3


def test_the_next_requests(script: Script) -> None:
    """Rules apply one after the other: the second begins when the first is used up."""
    script.next(2, faults.reset())
    script.next(1, faults.close())
    assert drawn(script, 4) == ["reset", "reset", "close", None]


def test_the_kth_request(script: Script) -> None:
    """Requests are counted from the time at which the rule was added."""
    assert drawn(script, 1) == [None]
    script.kth(3, faults.reset())
    assert drawn(script, 4) == [None, None, "reset", None]


def test_a_fault_between_two_times(script: Script, clock: Clock) -> None:
    """A fault applies from its start until before its end."""
    script.between(NOW + SECOND, NOW + 3 * SECOND, faults.refused_token())
    seen = []
    for _ in range(4):
        seen += drawn(script, 1)
        clock.time += SECOND
    assert seen == [None, "refused_token", "refused_token", None]


def test_a_share_depends_on_its_seed(script: Script, clock: Clock) -> None:
    """One seed selects the same requests and faults, in about the given share."""
    choice = [faults.reset(), faults.close()]
    script.some(0.25, choice, seed=5)
    again, other = Script(clock), Script(clock)
    again.some(0.25, choice, seed=5)
    other.some(0.25, choice, seed=6)
    seen = drawn(script, 1000)
    assert seen == drawn(again, 1000) != drawn(other, 1000)
    assert 200 < Counter(seen)["reset"] + Counter(seen)["close"] < 300
    assert min(Counter(seen).values()) > 90


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_shares_of_none_and_all(script: Script, share: float) -> None:
    """A share of 0 selects no request, and a share of 1 all of them."""
    script.some(share, [faults.reset()], seed=1)
    assert drawn(script, 50) == ["reset" if share else None] * 50


def test_a_fault_skips_requests_to_which_it_does_not_apply(script: Script) -> None:
    """A fault that needs a cursor skips a stream's first request and applies to the second."""
    script.next(1, faults.refused_cursor())
    script.kth(2, faults.refused_cursor())
    assert drawn(script, 2, has_cursor=False) == [None, None]
    assert drawn(script, 4) == ["refused_cursor", None, "refused_cursor", None]


def test_other_paths_have_their_own_rules(script: Script) -> None:
    """A fault of the token endpoint ignores and doesn't count requests to the System Log."""
    script.kth(2, faults.reset(), path="/oauth2/v1/token")
    assert drawn(script, 5) == [None] * 5
    assert drawn(script, 3, path="/oauth2/v1/token") == [None, "reset", None]


def test_a_script_can_be_cleared(script: Script) -> None:
    """Clearing a script removes its remaining faults."""
    script.next(5, faults.reset())
    assert drawn(script, 1) == ["reset"]
    script.clear()
    assert drawn(script, 2) == [None, None]


def test_every_fault_has_a_unique_name() -> None:
    """Each fault has a unique name, by which requests are counted."""
    names = [fault.name for fault in faults.every()]
    assert len(set(names)) == len(names) > 20
