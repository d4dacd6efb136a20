"""The Okta SDK's executor as a service app of the simulated org, over HTTP."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
import time_machine
import yaml
from okta.cache.no_op_cache import NoOpCache
from okta.request_executor import RequestExecutor
from time_machine import Traveller

from oktawatch.simulator import ServiceApp, SimulatedOrg, faults, serve
from tests.support.logclient import NOW, event
from tests.support.shared import shared_data
from tests.support.signing import CLIENT, Signer, rsa_pem, rsa_private_jwk, rsa_public_jwk

TOKEN = "/oauth2/v1/token"


class Reader:
    """The SDK's executor, which reads an org's System Log."""

    def __init__(self, url: str, **client: Any) -> None:
        config = {
            "orgUrl": url,
            "authorizationMode": "PrivateKey",
            "clientId": CLIENT,
            "scopes": ["okta.logs.read"],
            "privateKey": rsa_pem(),
            "oauthTokenRenewalOffset": 5,
            "rateLimit": {"maxRetries": 0},
        }
        self._executor = RequestExecutor({"client": config | client}, NoOpCache())
        self._oauth = self._executor._oauth

    async def read(self) -> tuple[int, Any]:
        """Return the status and the body of a page, or 0 and the error of the token request."""
        request, error = await self._executor.create_request("GET", "/api/v1/logs")
        if error is not None:
            return 0, error
        _, response, body, _ = await self._executor.fire_request(request)
        return response.status, json.loads(body) if body else None

    def forget_token(self) -> None:
        """Delete the access token, as a client does after a 401."""
        self._oauth.clear_access_token()


@pytest.fixture(autouse=True)
def machine() -> Iterator[Traveller]:
    """Stop the machine's clock, which the SDK uses for signatures."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def app() -> ServiceApp:
    """Return a service app."""
    return ServiceApp(CLIENT, keys=[rsa_public_jwk("k1")])


@pytest.fixture
def org(app: ServiceApp) -> SimulatedOrg:
    """Return an org with one event and the app. It uses the machine's clock."""
    org = SimulatedOrg(now=lambda: datetime.now(UTC))
    org.oauth.register(app)
    org.persist(event(1))
    return org


@pytest.fixture
async def url(org: SimulatedOrg) -> AsyncIterator[str]:
    """Serve the org."""
    async with serve(org) as url:
        yield url


def paths(org: SimulatedOrg) -> list[tuple[str, int | None]]:
    """Return the path and the status of each request."""
    return [(found.path_qs, found.status) for found in org.requests]


@pytest.mark.parametrize("key", ["pem", "pem with kid", "jwk"])
async def test_the_sdk_signs_in_with_a_private_key(org: SimulatedOrg, url: str, key: str) -> None:
    """The SDK accepts a key as PEM, with or without an id, or as a JWK, and reuses its token."""
    given: dict[str, dict[str, Any]] = {
        "pem": {},
        "pem with kid": {"kid": "k1"},
        "jwk": {"privateKey": rsa_private_jwk("k1")},
    }
    reader = Reader(url, **given[key])
    for _ in range(2):
        status, events = await reader.read()
        assert (status, [found["number"] for found in events]) == (200, [1])
    assert paths(org) == [(TOKEN, 200), ("/api/v1/logs", 200), ("/api/v1/logs", 200)]


async def test_the_sdk_proves_its_key(org: SimulatedOrg, app: ServiceApp, url: str) -> None:
    """The SDK answers a nonce challenge, gets a token that is bound to its key, and proves each request."""
    app.dpop = True
    reader = Reader(url, dpopEnabled=True)
    for _ in range(3):
        status, events = await reader.read()
        assert (status, len(events)) == (200, 1)
    assert paths(org) == [(TOKEN, 400), (TOKEN, 200)] + [("/api/v1/logs", 200)] * 3
    # A new token needs no new challenge until the nonce changes.
    reader.forget_token()
    await reader.read()
    org.oauth.proofs.renew_nonce()
    reader.forget_token()
    await reader.read()
    assert [status for path, status in paths(org)[5:] if path == TOKEN] == [200, 400, 200]


async def test_an_app_that_requires_proofs_refuses_the_sdk_without_them(app: ServiceApp, url: str) -> None:
    """If an app requires proofs and the SDK sends none, the SDK's error has Okta's code."""
    app.dpop = True
    status, error = await Reader(url).read()
    assert status == 0
    assert "invalid_dpop_proof" in str(error)
    assert "The DPoP proof JWT header is missing." in str(error)


@pytest.mark.parametrize("dpop", [False, True])
async def test_a_revoked_token_is_replaced(org: SimulatedOrg, url: str, *, dpop: bool) -> None:
    """The SDK keeps a revoked token, with a 401 for each request, until it is cleared."""
    reader = Reader(url, dpopEnabled=dpop)
    assert (await reader.read())[0] == 200
    org.oauth.revoke()
    for _ in range(2):
        status, body = await reader.read()
        assert (status, body["errorCode"]) == (401, "E0000011")
    reader.forget_token()
    assert (await reader.read())[0] == 200


async def test_the_sdk_renews_a_token_before_it_expires(
    org: SimulatedOrg, app: ServiceApp, url: str, machine: Traveller
) -> None:
    """The SDK renews a token five minutes before it expires, and a token that lasts no longer at each call."""
    reader = Reader(url)
    await reader.read()
    machine.move_to(NOW + timedelta(minutes=54))
    await reader.read()
    machine.move_to(NOW + timedelta(minutes=56))
    assert (await reader.read())[0] == 200
    assert [path for path, _ in paths(org)].count(TOKEN) == 2
    app.lifetime = timedelta(minutes=5)
    short = Reader(url)
    for _ in range(2):
        assert (await short.read())[0] == 200
    assert [path for path, _ in paths(org)].count(TOKEN) == 4


async def test_an_assertion_from_a_wrong_clock_is_refused(
    org: SimulatedOrg, url: str, machine: Traveller
) -> None:
    """An assertion from a clock that is an hour behind has expired."""
    org.oauth._now = (NOW + timedelta(hours=1)).timestamp
    status, error = await Reader(url).read()
    assert (status, "The client_assertion token is expired." in str(error)) == (0, True)
    machine.move_to(NOW + timedelta(hours=1))
    assert (await Reader(url).read())[0] == 200


async def test_missing_permissions_cause_different_errors(app: ServiceApp, url: str) -> None:
    """A missing role causes a 403, a missing scope no token, and another key an unknown client."""
    app.can_read_logs = False
    status, body = await Reader(url).read()
    assert (status, body["errorCode"]) == (403, "E0000006")
    app.scopes = frozenset()
    assert "invalid_scope" in str((await Reader(url).read())[1])
    app.keys = [Signer().public]
    assert "invalid_client" in str((await Reader(url).read())[1])


async def test_the_token_endpoint_has_its_own_rate_limit(org: SimulatedOrg, url: str) -> None:
    """The token endpoint has its own rate limit and faults, separate from the System Log."""
    org.token_budget.limit = 1
    reader = Reader(url)
    assert (await reader.read())[0] == 200
    assert (org.token_budget.peak, org.budget.peak) == (1, 1)
    reader.forget_token()
    assert "E0000047" in str((await reader.read())[1])
    org.token_budget.limit = None
    org.faults.next(1, faults.html(503), path=TOKEN)
    assert (await reader.read())[0] == 0
    assert (await reader.read())[0] == 200


async def test_tokens_are_requested_with_post(url: str) -> None:
    """Another method causes a 405, and a body that is not a form is refused like an empty one."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}{TOKEN}") as response:
            assert (response.status, response.headers["Allow"]) == (405, "POST")
        async with session.post(f"{url}{TOKEN}", json={"grant_type": "client_credentials"}) as response:
            assert (response.status, (await response.json())["error"]) == (400, "unsupported_grant_type")


@pytest.mark.parametrize(
    ("recording", "dpop"),
    [
        ("TestDPoPBackwardCompatibility.test_private_key_auth_without_dpop", False),
        ("TestDPoPIntegration.test_dpop_token_acquisition", True),
    ],
)
async def test_the_token_endpoint_answers_as_recorded(
    app: ServiceApp, url: str, recording: str, *, dpop: bool
) -> None:
    """Status, body and DPoP header equal those of a real org for the same requests."""
    path = shared_data(f"okta-sdk-cassettes/{recording}.yaml")
    recorded = [
        received["response"]
        for received in yaml.safe_load(path.read_text("utf-8"))["interactions"]
        if received["request"]["uri"].endswith(TOKEN)
    ][:2]
    app.dpop = True
    signer, holder = Signer(), Signer()
    app.keys = [signer.public]
    audience = f"{url}{TOKEN}"
    nonce = None
    for expected in recorded:
        headers = {"DPoP": holder.proof("POST", audience, nonce=nonce)} if dpop else {}
        async with (
            aiohttp.ClientSession() as session,
            session.post(audience, data=signer.form(audience), headers=headers) as received,
        ):
            body = await received.json()
            assert received.status == expected["status"]["code"]
            assert ("dpop-nonce" in received.headers) == ("dpop-nonce" in expected["headers"])
            nonce = received.headers.get("dpop-nonce")
            good = json.loads(expected["body"]["string"])
            if received.status == 200:
                assert list(body) == list(good)
                assert (body["token_type"], body["expires_in"]) == (good["token_type"], good["expires_in"])
            else:
                assert body == good
