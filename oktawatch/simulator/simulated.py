"""The org that tests and demonstrations serve: an `Org`, scripted faults, and a log of its requests."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from .faults import Script
from .org import Org


@dataclass(frozen=True)
class Request:
    """A request to the org, and the status of its answer: None when the connection broke before an answer."""

    method: str
    path_qs: str
    status: int | None
    fault: str | None = None
    """The name of the fault injected into this request."""


class SimulatedOrg(Org):
    """An Okta org with scripted faults. See `Org` for the parameters."""

    def __init__(
        self,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        token: str | None = None,
        rate_limit: int | None = None,
        others: int = 0,
    ) -> None:
        super().__init__(now=now, token=token, rate_limit=rate_limit, others=others)
        self.faults = Script(now)
        self.requests: list[Request] = []
