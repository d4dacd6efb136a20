"""Reading through a proxy with a password, from an org whose certificate a private authority has signed."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from oktawatch.simulator import ServiceApp as App
from oktawatch.simulator import SimulatedOrg, generate, serve
from oktawatch.systemlog.access import OrgAccess, ServiceApp
from oktawatch.systemlog.client import LogClient
from oktawatch.systemlog.errors import UnavailableError
from oktawatch.systemlog.queries import polling_query
from oktawatch.systemlog.tls import load_ca_file
from oktawatch.systemlog.transport import open_session
from tests.support.certificates import HOST, PrivateCa
from tests.support.proxy import PASSWORD, URL_PASSWORD, ForwardProxy, forwarding
from tests.support.signing import CLIENT, rsa_pem, rsa_public_jwk

QUERY = polling_query(since=datetime.now(UTC) - timedelta(hours=1), filter="", limit=5)
TOKEN = "00invented-token-of-nobody"


@pytest.fixture
def ca(tmp_path: Path) -> PrivateCa:
    """Create a certificate authority."""
    return PrivateCa(tmp_path)


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    """Run a proxy."""
    with forwarding() as proxy:
        yield proxy


@pytest.fixture
def org() -> SimulatedOrg:
    """Return an org with a few events, which a service app may read, too."""
    org = SimulatedOrg(token=TOKEN)
    org.extend(generate(12, end=datetime.now(UTC), span=timedelta(minutes=30)))
    org.oauth.register(App(CLIENT, keys=[rsa_public_jwk("k1")]))
    return org


@contextlib.asynccontextmanager
async def _client(access: OrgAccess, ca: PrivateCa | None) -> AsyncIterator[LogClient]:
    async with open_session(None if ca is None else load_ca_file(ca.file)) as session:
        yield LogClient(access, session=session)


@pytest.fixture
async def access(org: SimulatedOrg, ca: PrivateCa, proxy: ForwardProxy) -> AsyncIterator[OrgAccess]:
    """Serve the org under a name that only the proxy can find."""
    async with serve(org, tls=ca.server) as url:
        yield OrgAccess("acme", url.replace("127.0.0.1", HOST), TOKEN, proxy=proxy.url)


async def test_pages_are_requested_through_the_proxy(
    access: OrgAccess, ca: PrivateCa, proxy: ForwardProxy
) -> None:
    """All requests use one tunnel, and the proxy sees only the org's host name."""
    async with _client(access, ca) as client:
        first = await client.page(QUERY)
        second = await client.page(first.resume)
    assert (first.count, second.count) == (5, 5)
    assert proxy.asked == [f"CONNECT {access.url.removeprefix('https://')} HTTP/1.1"]
    assert TOKEN not in "".join(proxy.heads)
    assert "Authorization: SSWS" not in "".join(proxy.heads)


async def test_a_service_app_signs_in_through_the_proxy(
    access: OrgAccess, ca: PrivateCa, proxy: ForwardProxy, org: SimulatedOrg
) -> None:
    """A service app requests its token through the proxy."""
    app = ServiceApp(CLIENT, rsa_pem(), kid="k1")
    async with _client(replace(access, token="", app=app), ca) as client:
        assert (await client.page(QUERY)).count == 5
    assert [request.method for request in org.requests] == ["POST", "GET"]
    assert len(proxy.asked) == 1


async def test_an_http_org_is_reached_through_the_proxy(org: SimulatedOrg, proxy: ForwardProxy) -> None:
    """A proxy is used for a simulated org, too."""
    async with serve(org) as url, _client(OrgAccess("acme", url, TOKEN, proxy=proxy.url), None) as client:
        assert (await client.page(QUERY)).count == 5
    assert proxy.asked == [f"GET {url}{QUERY} HTTP/1.1"]


@pytest.mark.parametrize("tunnelled", [True, False])
async def test_a_wrong_proxy_password_is_reported(
    access: OrgAccess, ca: PrivateCa, org: SimulatedOrg, proxy: ForwardProxy, *, tunnelled: bool
) -> None:
    """The error says where the proxy is configured, without its password, and nothing reaches the org."""
    wrong = proxy.url.replace(URL_PASSWORD, "wr%40ng")
    url = access.url if tunnelled else f"http://127.0.0.1:{proxy.port}"
    async with _client(replace(access, url=url, proxy=wrong), ca) as client:
        with pytest.raises(UnavailableError, match=r"the proxy refuses .*HTTP 407.*poll\.proxy") as caught:
            await client.page(QUERY)
    assert "wr%40ng" not in str(caught.value)
    assert "wr@ng" not in str(caught.value)
    assert org.requests == []


@pytest.mark.parametrize(
    ("refusal", "advice"),
    [
        ("403 Forbidden", "allow connections to the org in the proxy"),
        ("502 Bad Gateway", "find out why the proxy can't reach the org"),
    ],
)
async def test_a_refusal_by_the_proxy_is_reported(
    access: OrgAccess, ca: PrivateCa, proxy: ForwardProxy, refusal: str, advice: str
) -> None:
    """A proxy's refusal is distinguished from Okta's, so token and cursor are kept."""
    proxy.refusal = refusal
    async with _client(access, ca) as client:
        with pytest.raises(UnavailableError, match=f"HTTP {refusal[:3]}.*{advice}") as caught:
            await client.page(QUERY)
    assert caught.value.__cause__ is caught.value.__context__ is None


async def test_an_unreachable_proxy_is_reported(access: OrgAccess, ca: PrivateCa) -> None:
    """The error names the unreachable proxy, without its password."""
    nowhere = f"http://watcher:{URL_PASSWORD}@127.0.0.1:1"
    async with _client(replace(access, proxy=nowhere), ca) as client:
        with pytest.raises(UnavailableError, match=r"the proxy can't be reached .*poll\.proxy") as caught:
            await client.page(QUERY)
    assert URL_PASSWORD not in str(caught.value)
    assert PASSWORD not in str(caught.value)


async def test_an_untrusted_certificate_is_refused(access: OrgAccess, org: SimulatedOrg) -> None:
    """An untrusted certificate is refused with advice before anything is sent."""
    async with _client(access, None) as client:
        with pytest.raises(UnavailableError, match=r"the connection is not trusted .*set poll\.ca_file"):
            await client.page(QUERY)
    assert org.requests == []


async def test_a_certificate_for_another_host_is_refused(
    ca: PrivateCa, org: SimulatedOrg, proxy: ForwardProxy
) -> None:
    """The certificate of a trusted CA for another host name is refused."""
    async with serve(org, tls=ca.server) as url:
        elsewhere = url.replace("127.0.0.1", "globex.example.com")
        async with _client(OrgAccess("globex", elsewhere, TOKEN, proxy=proxy.url), ca) as client:
            with pytest.raises(UnavailableError, match="not trusted"):
                await client.page(QUERY)
    assert org.requests == []
