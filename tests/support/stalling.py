"""A TCP proxy that can stall, half-close or slow down, in front of a database, Okta or a receiver."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

DRIP_EVERY_S = 0.05


class StallingProxy:
    """Forwards bytes until another mode is set. The methods are thread-safe."""

    def __init__(self, upstream: str | int) -> None:
        """``upstream`` is the path of a Unix socket or a port on this machine."""
        self.port = 0
        self.held = 0
        """The number of messages held back."""
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._dripping = False
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The proxy's URL for HTTP."""
        return f"http://127.0.0.1:{self.port}"

    def stall(self) -> None:
        """Keep all connections open, including new ones, but forward nothing."""
        self._call(self._flowing.clear)

    def flow(self) -> None:
        """Forward the data held back and all further data."""
        self._dripping = False
        self._call(self._flowing.set)

    def drip(self) -> None:
        """Forward one byte at a time, twenty per second."""
        self._dripping = True
        self._call(self._flowing.set)

    def hold_present(self) -> None:
        """Stop forwarding for existing connections, but serve new ones."""
        self._call(self._replace_gate)

    def half_close(self) -> None:
        """Close the stream to each client, but keep the stream from it open."""
        self._call(self._end_streams)

    def serve(self, ready: threading.Event) -> None:
        """Run in a thread until `close`."""
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._open())
        ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._close())
        self._loop.close()

    def close(self) -> None:
        """End `serve`."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _call(self, function: Callable[[], object]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(function)
        self._loop.call_soon_threadsafe(done.set)
        assert done.wait(10)

    def _end_streams(self) -> None:
        for client in self._clients:
            client.write_eof()

    def _replace_gate(self) -> None:
        self._flowing.clear()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def _open(self) -> None:
        self._flowing.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        flowing = self._flowing
        try:
            if isinstance(self._upstream, str):
                back, forth = await asyncio.open_unix_connection(self._upstream)
            else:
                back, forth = await asyncio.open_connection("127.0.0.1", self._upstream)
            try:
                await asyncio.gather(self._pump(reader, forth, flowing), self._pump(back, writer, flowing))
            finally:
                forth.close()
        except (OSError, RuntimeError):
            pass  # one side has gone, or its stream was ended by half_close
        finally:
            self._clients.discard(writer)
            writer.close()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, flowing: asyncio.Event
    ) -> None:
        while chunk := await source.read(65_536):
            self.held += 1
            await flowing.wait()
            self.held -= 1
            while self._dripping and chunk:
                sink.write(chunk[:1])
                chunk = chunk[1:]
                await asyncio.sleep(DRIP_EVERY_S)
                await flowing.wait()
            sink.write(chunk)
            await sink.drain()
        with contextlib.suppress(OSError):
            sink.write_eof()


@contextmanager
def stalling(upstream: str | int) -> Iterator[StallingProxy]:
    """Run a proxy on loopback."""
    proxy, ready = StallingProxy(upstream), threading.Event()
    thread = threading.Thread(target=proxy.serve, args=(ready,), name="stalling-proxy")
    thread.start()
    assert ready.wait(10)
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
