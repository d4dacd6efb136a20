"""The contender wire: it discards the pages, so it measures only aiohttp, the socket and the server."""

from benchmarks.contenders import reading
from benchmarks.server import PAGE_SIZE


class Wire:
    """A contender that discards the pages."""

    def __init__(self, _database: str) -> None:
        pass

    def page(self, _body: bytes, _cursor: str, measured: reading.Measured) -> None:
        """Count a full page, without decoding it."""
        measured.events += PAGE_SIZE


if __name__ == "__main__":
    reading.main(Wire)
