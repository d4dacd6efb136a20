"""An answer is inflated and decoded within limits of size, beside the event loop if it is large."""

import gzip
import threading
import tracemalloc
from typing import Any

import pytest
from aiohttp.compression_utils import ZLibBackend

from oktawatch.systemlog import transport
from oktawatch.systemlog.errors import (
    BrokenTransferError,
    UnavailableError,
)
from oktawatch.systemlog.page import Page
from tests.support.faults import EVENT, QUERY, answer, client_of, faulty


@pytest.mark.parametrize(
    "link",
    [
        '<https://evil.example.com/api/v1/logs?a>; rel="next"',
        "<https://evil.example.com",
        '</api/v1/logs?a=\udcff>; rel="next"',
    ],
)
async def test_a_page_with_an_unusable_next_link_keeps_its_events(link: str) -> None:
    """A page with an unusable next link has its events and the link's error."""
    async with faulty(answer(b"[" + EVENT + b"]", Link=link)) as server, client_of(server.url) as client:
        page = await client.page(QUERY)
    assert [event.uuid for event in page.events] == ["u1"]
    assert (page.next, page.link_error is None) == (None, False)


async def test_too_many_elements_are_refused_before_they_are_decoded() -> None:
    """A million empty objects are 4 KB of gzip, and took 12 GB of memory as rejected events."""
    bomb = gzip.compress(b"[" + b",".join([b"{}"] * 1_000_000) + b"]")
    async with faulty(answer(bomb, Content_Encoding="gzip")) as server, client_of(server.url) as client:
        with pytest.raises(BrokenTransferError, match="more than 10000 elements"):
            await client.page(QUERY)
        server.answers = [answer(b"[" + b",".join([b"{}"] * 10_000) + b"]")]
        assert (await client.page(QUERY)).count == 10_000


async def test_a_large_page_is_decoded_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large page is decoded in a thread, while other orgs' requests continue."""
    threads = []

    def noting(*args: Any, **kwargs: Any) -> Page:
        threads.append(threading.current_thread().name.rpartition("_")[0])
        return page_of(*args, **kwargs)

    page_of = Page.read
    monkeypatch.setattr(Page, "read", noting)
    large = b"[" + EVENT + b" " * 300_000 + b"]"
    async with faulty(answer(b"[" + EVENT + b"]"), answer(large)) as server, client_of(server.url) as client:
        await client.page(QUERY)
        assert (await client.page(QUERY)).count == 1
    assert threads == ["", "oktawatch-decoding"]


async def test_a_gzipped_page_is_inflated() -> None:
    """A compressed page is inflated."""
    packed = gzip.compress(b"[" + EVENT + b"]")
    async with faulty(answer(packed, Content_Encoding="gzip")) as server, client_of(server.url) as client:
        page = await client.page(QUERY)
    assert [event.uuid for event in page.events] == ["u1"]
    assert page.date is not None


async def test_inflating_stops_at_the_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte of gzip can contain a gigabyte, so inflating stops at the bound."""
    monkeypatch.setattr(transport, "LARGEST_BODY", 1_000_000)
    bomb = gzip.compress(b"[" + b" " * 30_000_000 + b"]")
    async with faulty(answer(bomb, Content_Encoding="gzip")) as server, client_of(server.url) as client:
        tracemalloc.start()
        with pytest.raises(BrokenTransferError, match="more than 1000000 bytes"):
            await client.page(QUERY)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 10_000_000  # decompression stops at the limit


async def test_only_the_beginning_of_a_huge_error_is_read() -> None:
    """Only the beginning of a large error body is read and quoted."""
    huge = b'{"errorSummary":"' + b"x" * 10_000_000 + b'"}'
    async with faulty(answer(huge, status="500 Oops")) as server, client_of(server.url) as client:
        with pytest.raises(UnavailableError) as caught:
            await client.page(QUERY)
    assert len(str(caught.value)) < 1_000


async def test_both_link_lines_are_read() -> None:
    """``self`` and ``next`` are read from two header lines of one name."""
    async with faulty(answer()) as server, client_of(server.url) as client:
        following = "/api/v1/logs?after=1&limit=1000"
        links = f'<{server.url}{QUERY}>; rel="self"\r\nLink: <{server.url}{following}>; rel="next"'
        server.answers = [answer(Link=links)]
        page = await client.page(QUERY)
    assert (page.query, page.next, page.resume) == (QUERY, following, following)


def test_gzip_is_inflated_by_isal() -> None:
    """Answers are decompressed by isal, which is three times as fast as zlib."""
    assert ZLibBackend.name == "isal.isal_zlib"
