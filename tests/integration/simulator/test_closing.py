"""The server of a simulated org closes its connections."""

import asyncio
import gc
import socket
import ssl
import warnings
from pathlib import Path

import pytest

from oktawatch.simulator import SimulatedOrg, serve
from oktawatch.systemlog.tls import load_ca_file
from tests.support.certificates import HOST, PrivateCa
from tests.support.faults import answer, faulty
from tests.support.http import listening


@pytest.fixture
def ca(tmp_path: Path) -> PrivateCa:
    """Create a certificate authority."""
    return PrivateCa(tmp_path)


def _request(port: int, trust: ssl.SSLContext) -> ssl.SSLSocket:
    """Send a request, wait for the answer, and keep the connection."""
    client = trust.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname=HOST)
    client.sendall(b"GET / HTTP/1.1\r\nHost: acme.example.com\r\n\r\n")
    assert client.recv(1).startswith(b"H")
    return client


@pytest.mark.parametrize("kind", ["org", "receiver", "faulty"])
def test_a_connection_is_closed_without_the_clients_confirmation(ca: PrivateCa, kind: str) -> None:
    """No connection is left open when the client never confirms the end of its TLS connection."""
    trust, tls = load_ca_file(ca.file), ca.server

    async def serve_one() -> ssl.SSLSocket:
        match kind:
            case "org":
                async with serve(SimulatedOrg(), tls=tls) as url:
                    return await asyncio.to_thread(_request, int(url.rpartition(":")[2]), trust)
            case "receiver":
                async with listening(tls=tls) as receiver:
                    return await asyncio.to_thread(
                        _request, int(receiver.url.split(":")[2].split("/")[0]), trust
                    )
            case _:
                async with faulty(answer(), tls=tls) as server:
                    return await asyncio.to_thread(_request, server.port, trust)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        client = asyncio.run(serve_one())
        gc.collect()
    client.close()
    assert [str(warning.message) for warning in caught] == []
