"""A forwarding proxy with optional authentication. It resolves every host to this machine."""

import base64
import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

USER, PASSWORD = "watcher", "p@ss:word/17"
URL_PASSWORD = "p%40ss%3Aword%2F17"


@dataclass
class ForwardProxy:
    """The proxy's configuration and the requests that it received."""

    port: int = 0
    refusal: str | None = None
    """The status of every response, such as ``403 Forbidden``."""
    heads: list[str] = field(default_factory=list)
    """The heads of the received requests."""

    @property
    def url(self) -> str:
        """The proxy's URL with user and password."""
        return f"http://{USER}:{URL_PASSWORD}@127.0.0.1:{self.port}"

    @property
    def asked(self) -> list[str]:
        """The request lines."""
        return [head.split("\r\n", 1)[0] for head in self.heads]

    def refusal_of(self, head: str) -> str | None:
        """Return the status that refuses a request, or None to forward it."""
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if f"proxy-authorization: basic {expected}".lower() not in head.lower():
            return "407 Proxy Authentication Required"
        return self.refusal


@contextlib.contextmanager
def forwarding() -> Iterator[ForwardProxy]:
    """Run a proxy on loopback, in threads."""
    proxy = ForwardProxy()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            _serve(proxy, self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        proxy.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()


def _serve(proxy: ForwardProxy, client: socket.socket) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        if not (chunk := client.recv(65_536)):
            return
        head += chunk
    text = head.decode("latin-1")
    proxy.heads.append(text)
    refusal = proxy.refusal_of(text)
    if refusal is not None:
        client.sendall(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        return
    method, target, _ = text.split(" ", 2)
    address = target if method == "CONNECT" else target.split("/")[2]
    with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as server:
        if method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server.sendall(head.replace(f"http://{address}".encode(), b"", 1))
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        _pump(client, server)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Forward the data of a stream, and then its end."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(65_536):
            sink.sendall(chunk)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
