"""The heartbeat is sent only while everything works."""

from structlog.testing import capture_logs

from oktawatch.notify.channel import DeliveryError
from oktawatch.service.heartbeat import Heartbeat


class Beats:
    """A heartbeat that counts its requests, and fails as the test sets."""

    def __init__(self, *errors: Exception | None) -> None:
        self.count = 0
        self._errors = list(errors)

    async def __call__(self) -> None:
        """Beat."""
        self.count += 1
        if self._errors and (error := self._errors.pop(0)):
            raise error


async def test_a_heartbeat_is_sent_after_every_org_was_polled() -> None:
    """A heartbeat is sent once every org has been polled successfully since the last heartbeat."""
    beats = Beats()
    heartbeat = Heartbeat(beats)
    counts = []
    for polled in (["acme"], ["globex"], [], ["acme", "globex"], ["acme"], ["acme"]):
        for org in polled:
            heartbeat.polled(org)
        await heartbeat.round(["acme", "globex"])
        counts.append(beats.count)

    assert counts == [0, 1, 1, 2, 2, 2]


async def test_a_replica_without_orgs_sends_no_heartbeat() -> None:
    """A replica without orgs sends no heartbeat."""
    beats = Beats()

    await Heartbeat(beats).round([])

    assert beats.count == 0


async def test_a_failing_heartbeat_is_logged_once() -> None:
    """A failing heartbeat is logged once and affects nothing else."""
    beats = Beats(DeliveryError("status 500"), DeliveryError("status 500"), KeyError("a bug"), None)
    heartbeat = Heartbeat(beats)
    with capture_logs() as logs:
        for _ in range(4):
            heartbeat.polled("acme")
            await heartbeat.round(["acme"])

    assert [(line["event"], line.get("reason")) for line in logs] == [
        ("heartbeat_failed", "unreachable"),
        ("heartbeat_failed", "unexpected"),
        ("heartbeat_recovered", None),
    ]
