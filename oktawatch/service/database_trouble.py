"""The failures of the database that all jobs share.

Trouble begins with a failed transaction of any job. It ends with a successful write that began after the last failure.

A full disk may refuse a page of events and still accept a small write. So after the write of a job was refused, the
trouble can't end until that job succeeds or ten minutes have passed.
"""

import time
from collections.abc import Callable, Iterable
from datetime import timedelta

from oktawatch.service.failure_log import FailureLog
from oktawatch.store.errors import UnusableDatabaseError, WriteFailedError

_REMEMBERED_S = 600.0
"""How long a refused write prevents the end of the trouble. Its job may never write again, because its org was removed,
can't be reached, or is polled by another replica."""


class DatabaseTrouble:
    """Counts the consecutive database failures of all jobs, and logs them once."""

    def __init__(self, *, lost: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        """``lost`` is called when the daemon can't continue with this database."""
        self._failure_log = FailureLog("database")
        self._lost = lost
        self._clock = clock
        self._worked_at = self.failed_at = clock()
        """``failed_at`` is the `moment` of the last failure, or of the start."""
        self._refused: dict[str, float] = {}
        """The jobs whose last write was refused, in this process or an earlier one, and the time by ``clock``."""
        self.error = ""
        """The text of the last failure."""
        self.fatal: UnusableDatabaseError | None = None
        """The failure after which the daemon can't continue."""

    @property
    def failures(self) -> int:
        """The number of failures since the trouble began; 0 without trouble."""
        return self._failure_log.failures

    @property
    def works(self) -> bool:
        """Whether there is no trouble, and no job whose last write was refused."""
        return not self.failures and not self._refused

    @property
    def refused(self) -> tuple[str, ...]:
        """The jobs whose last write was refused."""
        return tuple(sorted(self._refused))

    def expect_writes(self, jobs: Iterable[str]) -> None:
        """Treat the last writes of these jobs as refused, because they were refused in an earlier process."""
        self._refused |= dict.fromkeys(jobs, self._clock())

    @property
    def duration(self) -> timedelta:
        """The time since the last successful write before the trouble, or since the start; zero without trouble."""
        return timedelta(seconds=self._clock() - self._worked_at) if self.failures else timedelta()

    def failed(self, error: Exception, *, job: str | None = None) -> None:
        """Count a failure.

        With ``job``, remember a refused write until this job succeeds, but at most 10 min.
        """
        self._failure_log.failed("database", error)
        self.error = str(error)
        self.failed_at = self._clock()
        if job is not None and isinstance(error, WriteFailedError):
            self._refused[job] = self._clock()
        if isinstance(error, UnusableDatabaseError) and self.fatal is None:
            self.fatal = error
            self._lost()

    def completed(self, job: str) -> None:
        """Forget a refused write of a job, because a round of the job has succeeded."""
        self._refused.pop(job, None)

    def moment(self) -> float:
        """Return the time to pass to `wrote` as ``began``."""
        return self._clock()

    def wrote(self, job: str | None = None, *, began: float | None = None) -> None:
        """Record a successful write, which ends the trouble unless the write of another job was refused.

        ``began`` is the `moment` before the write, by default now. A write that began before the last failure is ignored.
        """
        now = self._clock()
        if began is not None and began < self.failed_at:
            return
        self._refused = {
            other: at for other, at in self._refused.items() if other != job and now - at < _REMEMBERED_S
        }
        if not self._refused:
            self._failure_log.ended()
            self._worked_at = now
