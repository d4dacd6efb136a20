"""An org's sweeps wait for polling, and end in spite of any failure."""

from datetime import UTC, datetime, timedelta

from structlog.testing import capture_logs

from oktawatch.engine.pipeline import PageResult
from oktawatch.engine.poll import CaughtUp
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.sweeping import SOON, OrgSweeping
from oktawatch.store.errors import StoreError
from oktawatch.systemlog.errors import UnavailableError

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
CAUGHT_UP = CaughtUp(date=NOW, began_at=NOW)


class Sweeps:
    """An org whose sweeps end as the test sets."""

    def __init__(self, *ends: PageResult | Exception) -> None:
        self.ends = list(ends)
        self.polled: list[CaughtUp] = []
        self.caught_up: CaughtUp | None = CAUGHT_UP
        self.enqueued = 0
        self.sweeping = OrgSweeping(
            "acme",
            self._sweep,
            interval=timedelta(hours=1),
            caught_up=lambda: self.caught_up,
            database_trouble=DatabaseTrouble(lost=lambda: None),
            enqueued=self._count,
        )

    async def _sweep(self, polled: CaughtUp) -> PageResult:
        self.polled.append(polled)
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    def _count(self) -> None:
        self.enqueued += 1


async def test_a_sweep_with_new_notifications_triggers_delivery() -> None:
    """A sweep triggers deliveries only if it enqueued notifications."""
    sweeps = Sweeps(PageResult(), PageResult(notifications=2))

    assert [await sweeps.sweeping.round() for _ in range(2)] == [None, None]

    assert (sweeps.polled, sweeps.enqueued) == ([CAUGHT_UP, CAUGHT_UP], 1)


async def test_a_sweep_waits_until_polling_has_caught_up() -> None:
    """A sweep waits until polling has caught up, without logging a failure."""
    sweeps = Sweeps(UnavailableError("Okta is down"), PageResult())
    with capture_logs() as logs:
        await sweeps.sweeping.round()
        sweeps.caught_up = None
        assert await sweeps.sweeping.round() == SOON
        assert [line["event"] for line in logs] == ["sweep_failed"]
        sweeps.caught_up = CAUGHT_UP
        await sweeps.sweeping.round()

    assert [line["event"] for line in logs] == ["sweep_failed", "sweep_recovered"]


async def test_a_database_failure_is_logged_as_shared() -> None:
    """A failure of the database is logged as shared, and the sweep is retried early."""
    sweeps = Sweeps(StoreError("disk full"), PageResult())
    with capture_logs() as logs:
        delay = await sweeps.sweeping.round()
        await sweeps.sweeping.round()

    assert delay is not None
    assert delay < timedelta(minutes=1)
    assert [line["event"] for line in logs] == ["database_failed", "database_recovered"]
