"""The windows of the rate limit."""

from oktawatch.simulator.ratelimit import Budget


def test_the_last_request_of_a_window_is_served() -> None:
    """The request that reduces the remaining count to 0 succeeds, and the next one is refused with the same reset."""
    budget = Budget(2)
    received = []
    for second in (0.0, 10.0, 20.0, 59.0):
        served = budget.take(1000.0 + second)
        headers = budget.headers()
        received.append((served, headers["X-Rate-Limit-Remaining"], headers["X-Rate-Limit-Reset"]))
    assert received == [(True, "1", "1060"), (True, "0", "1060"), (False, "0", "1060"), (False, "0", "1060")]


def test_a_window_begins_with_its_first_request() -> None:
    """Windows are not aligned to the minute."""
    budget = Budget(1)
    assert budget.take(1000.5)
    assert not budget.take(1060.9)
    assert budget.take(1075.2)
    assert budget.headers()["X-Rate-Limit-Reset"] == "1136"


def test_the_headers_have_a_limit_even_without_one() -> None:
    """Without a limit, the headers have a large one."""
    budget = Budget()
    assert all(budget.take(1000.0) for _ in range(1000))
    assert budget.headers()["X-Rate-Limit-Remaining"] == "99000"


def test_a_clock_turned_back_opens_a_new_window() -> None:
    """A clock that is set back starts a new window, because a test may set its clock to any time."""
    budget = Budget(1)
    assert budget.take(9000.0)
    assert budget.take(1000.0)


def test_other_clients_use_their_share_of_each_window() -> None:
    """Other clients use their share of each window evenly over time."""
    budget = Budget(60, others=30)
    received = []
    for second in (0, 10, 20, 59, 61):
        assert budget.take(1000.0 + second)
        received.append(int(budget.headers()["X-Rate-Limit-Remaining"]))
    assert received == [59, 53, 47, 27, 59]


def test_other_clients_can_send_many_requests_at_once() -> None:
    """When other clients send many requests at once, the next answer has the remaining number."""
    budget = Budget(60)
    budget.take(1000.0)
    budget.spend(50, 1001.0)
    budget.take(1002.0)
    assert budget.headers()["X-Rate-Limit-Remaining"] == "8"


def test_exhausting_a_window_is_a_violation() -> None:
    """Exhausting a window is one violation. The refused requests after it are not counted as violations."""
    budget = Budget(3)
    assert [budget.take(1000.0) for _ in range(5)] == [True, True, True, False, False]
    assert (budget.violations, budget.refused, budget.peak) == (1, 2, 5)
    assert [budget.take(1060.0) for _ in range(2)] == [True, True]
    assert (budget.violations, budget.refused, budget.peak) == (1, 2, 5)


def test_a_window_exhausted_by_others_is_no_violation() -> None:
    """If other clients exhausted the window, the request is refused, but no violation is counted."""
    budget = Budget(10)
    assert budget.take(1000.0)
    budget.spend(9, 1000.0)
    assert not budget.take(1001.0)
    assert (budget.violations, budget.refused) == (0, 1)
    assert budget.headers()["X-Rate-Limit-Remaining"] == "0"
