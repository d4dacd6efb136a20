"""No program at all: the pages are read and thrown away, which leaves aiohttp, the socket and the server."""

from benchmarks.contenders import reading
from benchmarks.server import PAGE_SIZE


class Wire:
    """Takes pages and does nothing with them."""

    def __init__(self, _database: str) -> None:
        pass

    def page(self, _body: bytes, _cursor: str, measured: reading.Measured) -> None:
        """Count a page as full: its events are not looked at."""
        measured.events += PAGE_SIZE


if __name__ == "__main__":
    reading.main(Wire)
