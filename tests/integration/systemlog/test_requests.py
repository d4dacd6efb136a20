"""A request has only its org's token, goes only to the System Log, and is not influenced by the environment."""

import asyncio
import logging
from pathlib import Path

import pytest

from oktawatch import __version__
from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.client import LogClient
from oktawatch.systemlog.errors import (
    BrokenTransferError,
    RequestRefusedError,
    UnavailableError,
)
from oktawatch.systemlog.transport import open_session
from tests.support.faults import QUERY, TOKEN, answer, client_of, faulty


async def test_a_request_has_the_token_and_the_unchanged_url() -> None:
    """A request has the SSWS scheme, the unchanged URL and oktawatch's User-Agent, and nothing from the environment."""
    async with faulty(answer()) as server, client_of(server.url) as client:
        odd = f"{QUERY}&after=%7e,%2C+'()~%20"
        await client.page(odd)
    head = server.requests[0]
    assert head.startswith(f"GET {odd} HTTP/1.1\r\n")
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
    assert headers["Authorization"] == f"SSWS {TOKEN}"
    assert headers["User-Agent"] == f"oktawatch/{__version__}"
    assert headers["Accept"] == "application/json"
    assert headers["Accept-Encoding"] == "gzip"
    assert "Cookie" not in headers


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
async def test_no_redirect_is_followed(status: str) -> None:
    """A redirect is not followed, because the request would contain the token."""
    async with faulty(answer()) as other:
        moved = answer(b"", status=status, Location=f"{other.url}{QUERY}")
        async with faulty(moved) as server, client_of(server.url) as client:
            with pytest.raises(BrokenTransferError, match=f"HTTP {status[:3]}.*{other.url}"):
                await client.page(QUERY)
    assert other.requests == []


async def test_cookies_are_not_stored() -> None:
    """Cookies are not kept, so that only the token identifies the client."""
    async with faulty(answer(Set_Cookie="sid=1; Path=/")) as server, client_of(server.url) as client:
        await client.page(QUERY)
        await client.page(QUERY)
    assert "cookie" not in server.requests[1].lower()


async def test_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The SDK's variables and files, and proxies in the environment, have no effect."""
    (tmp_path / "okta.yaml").write_text(
        "okta:\n  client:\n    orgUrl: http://127.0.0.1:1\n    token: other\n"
    )
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("OKTA_CLIENT_ORGURL", "http://127.0.0.1:1")
    monkeypatch.setenv("OKTA_CLIENT_TOKEN", "other")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with faulty(answer()) as server, client_of(server.url) as client:
        await client.page(QUERY)
    assert f"SSWS {TOKEN}" in server.requests[0]


async def test_the_sdks_log_does_not_contain_the_token(caplog: pytest.LogCaptureFixture) -> None:
    """The SDK's logger is disabled, because it would write headers at DEBUG and tracebacks at ERROR."""
    caplog.set_level(logging.DEBUG)
    async with faulty(answer(), b"") as server, client_of(server.url) as client:
        await client.page(QUERY)
        with pytest.raises(UnavailableError):
            await client.page(QUERY)
    assert TOKEN not in caplog.text
    assert "okta-sdk-python" not in {record.name for record in caplog.records}


async def test_only_queries_of_the_system_log_are_sent() -> None:
    """A query that does not address the System Log is not sent."""
    async with faulty(answer()) as server, client_of(server.url) as client:
        for query in (
            "@evil.example.com/",
            "/api/v1/users?x",
            f"https://evil.example.com{QUERY}",
            "",
            "/api/v1/logs",
        ):
            with pytest.raises(RequestRefusedError, match="not a query of the System Log"):
                await client.page(query)
    assert server.requests == []


async def test_closing_a_client_leaves_the_shared_session_open() -> None:
    """Clients share a session, and closing a client leaves it open."""
    async with faulty(answer()) as server, open_session(None) as session:
        for name in ("acme", "globex"):
            client = LogClient(OrgAccess(name, server.url, TOKEN), session=session)
            await client.page(QUERY)
            await client.close()
        assert not session.closed


async def test_a_closed_client_can_be_used_again() -> None:
    """Closing closes connections only, and can be repeated."""
    async with faulty(answer()) as server, client_of(server.url) as client:
        await client.close()
        await client.page(QUERY)
        await client.close()
        await client.close()
        assert (await client.page(QUERY)).count == 0


async def test_each_org_uses_its_own_token() -> None:
    """Two orgs use their own tokens, although the SDK keeps some state on classes."""
    async with (
        faulty(answer()) as one,
        faulty(answer()) as other,
        client_of(one.url, token="00one") as first,
        client_of(other.url, token="00other") as second,
    ):
        await asyncio.gather(first.page(QUERY), second.page(QUERY))
    assert "SSWS 00one\r\n" in one.requests[0]
    assert "SSWS 00other\r\n" in other.requests[0]
