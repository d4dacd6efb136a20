"""The request of the heartbeat, to a server with prepared answers."""

import asyncio

import pytest

from oktawatch.notify import heartbeat
from oktawatch.notify.channel import DeliveryError
from tests.support.faults import answer, faulty

PATH = "/ping/00secret"


async def _hang(_writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def test_the_url_is_requested_once() -> None:
    """The heartbeat requests its URL once, unchanged."""
    async with faulty(answer(b"OK")) as server:
        await heartbeat.send_heartbeat(f"{server.url}{PATH}")

    (request,) = server.requests
    assert request.startswith(f"GET {PATH} HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("status", "why"),
    [("404 Not Found", "status 404"), ("302 Found", "status 302"), ("500 No", "status 500")],
)
async def test_any_status_but_2xx_is_an_error(status: str, why: str) -> None:
    """Redirects are not followed either."""
    async with faulty(answer(status=status, Location="https://example.com/")) as server:
        with pytest.raises(DeliveryError, match=why) as caught:
            await heartbeat.send_heartbeat(f"{server.url}{PATH}")

    assert "secret" not in str(caught.value)
    assert len(server.requests) == 1


async def test_an_error_does_not_contain_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed heartbeat raises an error without the URL, which is a secret."""
    monkeypatch.setattr(heartbeat, "_TIMEOUT_S", 0.2)
    async with faulty(_hang) as server:
        url = f"{server.url}{PATH}"
        with pytest.raises(DeliveryError, match=r"no answer within 0\.2 s") as hung:
            await heartbeat.send_heartbeat(url)
    with pytest.raises(DeliveryError, match="no answer: ClientConnectorError") as gone:
        await heartbeat.send_heartbeat(url)

    assert "secret" not in f"{hung.value} {gone.value}"
