"""The silence alarm, round after round, whatever goes wrong."""

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from oktawatch.service.failure_log import UNEXPECTED, FailureLog
from oktawatch.store.errors import StoppedError, StoreError

_OFTEN = timedelta(seconds=30)


def interval(after: timedelta) -> timedelta:
    """Say how often to look, so that silence is noticed soon after it has lasted long enough."""
    return min(_OFTEN, after / 2)


class Check(Protocol):
    """What `engine.silence.SilenceWatch` is to us."""

    async def check(self) -> bool:
        """Look; tell whether anything was told. Raises StoreError."""


class Silence:
    """Looks for silence without ever failing."""

    def __init__(self, watch: Check, *, database_trouble: FailureLog, told: Callable[[], None]) -> None:
        """``told`` is called when there is something to send."""
        self._watch = watch
        self._database_trouble = database_trouble
        self._told = told
        self._failure_log = FailureLog("silence_check")

    async def round(self) -> None:
        """Look once."""
        try:
            told = await self._watch.check()
        except StoppedError:
            return
        except StoreError as error:
            self._database_trouble.failed("database", error)
        except Exception as error:  # noqa: BLE001 -- a bug here must not end the looking
            self._failure_log.failed(UNEXPECTED, error)
        else:
            self._failure_log.ended()
            if told:
                self._told()
