"""A service app reads an org: signatures, renewal of tokens, and Okta's refusals."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from jwt import decode_complete
from okta import dpop
from okta.dpop import DPoPProofGenerator
from okta.jwt import JWT

from oktawatch.model.timestamps import utc_now
from oktawatch.simulator import ServiceApp as App
from oktawatch.simulator import SimulatedOrg, faults, serve
from oktawatch.simulator.oauth import TOKEN as TOKEN_PATH
from oktawatch.systemlog.access import OrgAccess, ServiceApp
from oktawatch.systemlog.errors import (
    BrokenTransferError,
    PermissionMissingError,
    RateLimitedError,
    SystemLogError,
    TimedOutError,
    TokenRefusedError,
    UnavailableError,
    WrongHostError,
)
from oktawatch.systemlog.queries import LOGS_PATH, polling_query
from oktawatch.systemlog.signing import ServiceAppOAuth
from oktawatch.systemlog.transport import make_executor, open_session
from tests.support.faults import Sleeps, answer, client_of, faulty
from tests.support.signing import CLIENT, Signer, rsa_pem, rsa_public_jwk

APP = ServiceApp(CLIENT, rsa_pem(), kid="k1")
BOUND = replace(APP, dpop=True)


def _query() -> str:
    return polling_query(since=utc_now() - timedelta(hours=1), filter="", limit=10)


@pytest.fixture(autouse=True)
def smaller_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the SDK generate smaller keys, in a third of the time. The tests don't depend on their size."""
    monkeypatch.setattr(dpop, "RSA_KEY_SIZE_BITS", 2048)


@pytest.fixture
def app() -> App:
    """Return the app as the org's admins created it."""
    return App(CLIENT, keys=[rsa_public_jwk("k1")])


@pytest.fixture
def org(app: App) -> SimulatedOrg:
    """Return an org that has the app. It uses this machine's clock, like the SDK's signatures."""
    org = SimulatedOrg()
    org.oauth.register(app)
    return org


@pytest.fixture
async def url(org: SimulatedOrg) -> AsyncIterator[str]:
    """Serve the org."""
    async with serve(org) as url:
        yield url


def _asked(org: SimulatedOrg) -> list[tuple[str, int | None]]:
    return [(request.path_qs.partition("?")[0], request.status) for request in org.requests]


async def test_one_access_token_is_used_for_many_pages(org: SimulatedOrg, url: str) -> None:
    """One access token is requested with the first page and used for all pages."""
    async with client_of(url, app=APP) as client:
        for _ in range(3):
            await client.page(_query())
    assert _asked(org) == [(TOKEN_PATH, 200)] + [(LOGS_PATH, 200)] * 3


async def test_each_request_has_a_dpop_proof(org: SimulatedOrg, app: App, url: str) -> None:
    """With DPoP, a challenge is answered, the token is bound to a key, and each request has a proof."""
    app.dpop = True
    async with client_of(url, app=BOUND) as client:
        for _ in range(3):
            await client.page(_query())
    assert _asked(org) == [(TOKEN_PATH, 400), (TOKEN_PATH, 200)] + [(LOGS_PATH, 200)] * 3


@pytest.mark.parametrize("access", [APP, BOUND], ids=["bearer", "bound"])
async def test_a_revoked_token_is_replaced(org: SimulatedOrg, url: str, access: ServiceApp) -> None:
    """A 401 for a revoked access token requests another one and retries without an error."""
    async with client_of(url, app=access) as client:
        await client.page(_query())
        org.oauth.revoke()
        org.requests.clear()
        await client.page(_query())
    assert _asked(org) == [(LOGS_PATH, 401), (TOKEN_PATH, 200), (LOGS_PATH, 200)]


async def test_a_new_token_is_requested_once_for_a_refused_request(org: SimulatedOrg, url: str) -> None:
    """A new access token is requested only once for a refused request."""
    org.faults.next(10, faults.refused_token())
    async with client_of(url, app=APP) as client:
        with pytest.raises(TokenRefusedError, match="refuses the service app's access token"):
            await client.page(_query())
    assert _asked(org) == [(TOKEN_PATH, 200), (LOGS_PATH, 401)] * 2


async def test_a_short_lived_token_is_used_more_than_once(org: SimulatedOrg, app: App, url: str) -> None:
    """A token that is valid for five minutes is used for several pages, unlike with the SDK's default margin."""
    app.lifetime = timedelta(minutes=5)
    async with client_of(url, app=APP) as client:
        for _ in range(3):
            await client.page(_query())
    assert [path for path, _ in _asked(org)].count(TOKEN_PATH) == 1


async def test_proof_keys_are_replaced_each_day(org: SimulatedOrg, app: App, url: str) -> None:
    """The key of the proofs is changed each day, together with its access token."""
    app.dpop = True
    keys = []
    clock = [0.0]
    async with client_of(url, app=BOUND, clock=lambda: clock[0]) as client:
        for clock[0] in (0.0, 24 * 3600.0 + 1, 36 * 3600.0):
            await client.page(_query())
            keys.append([grant.key for grant in org.oauth._grants.values()][-1])
    assert keys[0] != keys[1]
    assert keys[1] == keys[2]


@pytest.mark.parametrize(
    ("wrong", "kind", "code", "advice"),
    [
        ({"scopes": frozenset()}, PermissionMissingError, "invalid_scope", "grant the app okta.logs.read"),
        ({"can_read_logs": False}, PermissionMissingError, "E0000006", "a read-only role such as"),
        ({"keys": [Signer().public]}, TokenRefusedError, "invalid_client", r"kid \(the id of that key\)"),
        ({"client_id": "0oa-of-nobody"}, TokenRefusedError, "invalid_client", "check client_id"),
    ],
)
async def test_each_setup_mistake_has_its_own_error(
    org: SimulatedOrg,
    app: App,
    url: str,
    wrong: dict[str, Any],
    kind: type[SystemLogError],
    code: str,
    advice: str,
) -> None:
    """Each mistake in the app's set-up has a specific error, without a secret."""
    org.oauth.apps.clear()
    org.oauth.register(replace(app, **wrong))
    async with client_of(url, app=APP) as client:
        with pytest.raises(kind, match=advice) as caught:
            await client.page(_query())
    assert code in str(caught.value)
    assert f"(acme, {url}, HTTP " in str(caught.value)
    assert caught.value.error_code == code
    assert caught.value.__context__ is caught.value.__cause__ is None, "its frames would hold the key"


async def test_dpop_is_used_if_okta_requires_it(org: SimulatedOrg, app: App, url: str) -> None:
    """DPoP is used without configuration if Okta requires it, which is remembered."""
    app.dpop = True
    async with client_of(url, app=APP) as client:
        for _ in range(2):
            await client.page(_query())
        org.oauth.revoke()
        await client.page(_query())
    first = [(TOKEN_PATH, 400)] * 2 + [(TOKEN_PATH, 200)] + [(LOGS_PATH, 200)] * 2
    assert _asked(org)[:5] == first
    assert _asked(org)[5:] == [(LOGS_PATH, 401), (TOKEN_PATH, 200), (LOGS_PATH, 200)]


async def test_dpop_is_used_as_soon_as_okta_requires_it(org: SimulatedOrg, app: App, url: str) -> None:
    """DPoP is used as soon as Okta requires it, even if an admin enables it while the daemon runs."""
    async with client_of(url, app=APP) as client:
        await client.page(_query())
        app.dpop = True
        org.oauth.revoke()
        assert (await client.page(_query())).count == 0


async def test_an_error_names_the_setting_that_disables_dpop(org: SimulatedOrg, app: App, url: str) -> None:
    """If DPoP is disabled but required, the error names the setting."""
    app.dpop = True
    async with client_of(url, app=replace(APP, dpop=False)) as client:
        with pytest.raises(TokenRefusedError, match=r"invalid_dpop_proof.*dpop = false forbids") as caught:
            await client.page(_query())
    assert _asked(org) == [(TOKEN_PATH, 400)]
    assert caught.value.__context__ is caught.value.__cause__ is None


async def test_a_wrong_clock_is_named_in_the_error(org: SimulatedOrg, url: str) -> None:
    """If the local clock is wrong, the error names the clock as a possible cause."""
    org.oauth._now = lambda: time.time() + 7200
    async with client_of(url, app=APP) as client:
        with pytest.raises(TokenRefusedError, match=r"expired.*this machine's clock"):
            await client.page(_query())


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.html(502), UnavailableError),
        (faults.timed_out(), UnavailableError),
        (faults.bare(503), UnavailableError),
        (faults.close(), UnavailableError),
        (faults.reset(), UnavailableError),
        (faults.login_page(), BrokenTransferError),
        (faults.redirect(), BrokenTransferError),
        (faults.empty(), BrokenTransferError),
        (faults.not_a_list(), BrokenTransferError),
        (faults.cut_short(), BrokenTransferError),
        (faults.cut_off(), BrokenTransferError),
        (faults.too_many_requests(), RateLimitedError),
        (faults.bare(429), RateLimitedError),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_a_failing_token_endpoint_raises_a_system_log_error(
    org: SimulatedOrg, url: str, fault: faults.Fault, kind: type[SystemLogError]
) -> None:
    """Any failure of the token endpoint raises SystemLogError, and the next request succeeds."""
    org.faults.next(5, fault, path=TOKEN_PATH)
    async with client_of(url, app=APP) as client:
        with pytest.raises(kind) as caught:
            await client.page(_query())
        assert type(caught.value) is kind
        assert caught.value.__context__ is caught.value.__cause__ is None
        org.faults.clear()
        assert (await client.page(_query())).count == 0


async def test_the_rate_limit_of_the_token_endpoint_is_respected(org: SimulatedOrg, url: str) -> None:
    """A token request waits by its own rate limit headers."""
    org.faults.next(1, faults.bare(429), path=TOKEN_PATH)
    sleep = Sleeps()
    async with client_of(url, app=APP, sleep=sleep) as client:
        await client.page(_query())
    assert sleep.taken == [5.25]


async def test_a_hanging_token_endpoint_times_out(org: SimulatedOrg, url: str) -> None:
    """A token endpoint that hangs raises TimedOutError after the timeout of a request."""
    org.faults.next(1, faults.hang(), path=TOKEN_PATH)
    async with client_of(url, app=APP, seconds=0.2) as client:
        with pytest.raises(TimedOutError):
            await client.page(_query())


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b'{"access_token":""}',
        b'{"access_token":"a","expires_in":"soon"}',
        b'{"token_type":1}',
        b"\xff",
    ],
)
async def test_a_malformed_token_answer_raises_an_error(body: bytes) -> None:
    """A malformed answer of the token endpoint raises an error."""
    async with faulty(answer(body)) as server, client_of(server.url, app=APP) as client:
        with pytest.raises(BrokenTransferError, match="contains no access token"):
            await client.page(_query())
    assert all("POST" in head for head in server.requests), "no page is requested without a token"


async def test_a_url_that_is_not_an_orgs_is_named_in_the_error() -> None:
    """If the URL is not an org's, the token request raises an error that names it."""
    missing = answer(b"", status="404 Not Found")
    async with faulty(missing) as server, client_of(server.url, app=APP) as client:
        with pytest.raises(WrongHostError, match="check the org's url"):
            await client.page(_query())


async def test_signing_does_not_block_the_event_loop(
    app: App, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys, assertions and proofs are created in a separate thread, so that they don't block the event loop."""
    app.dpop = True
    threads = set()

    def noting(original: Any) -> Any:
        def noted(*args: Any, **kwargs: Any) -> Any:
            threads.add(threading.current_thread().name.rpartition("_")[0])
            return original(*args, **kwargs)

        return noted

    monkeypatch.setattr(ServiceAppOAuth, "_assertion", noting(ServiceAppOAuth._assertion))
    for name in ("generate_proof_jwt", "_rotate_keys_internal"):
        monkeypatch.setattr(DPoPProofGenerator, name, noting(getattr(DPoPProofGenerator, name)))
    async with client_of(url, app=BOUND) as client:
        await client.page(_query())
    assert threads == {"oktawatch-signing"}


async def test_an_assertion_has_the_sdks_header_and_claims(url: str) -> None:
    """The header and the claims are those of the SDK, except for the times and the unique id."""
    async with open_session(None) as session:
        executor = make_executor(OrgAccess("acme", url, app=APP), session, timeout=1, dpop=False)
        ours = executor._oauth.get_JWT().sign()
    theirs = JWT.create_token(url, APP.client_id, APP.private_key, APP.kid)

    signed, expected = (
        decode_complete(token, options={"verify_signature": False}) for token in (ours, theirs)
    )
    assert signed["header"] == expected["header"]
    assert signed["payload"].keys() == expected["payload"].keys()
    for name in ("iss", "sub", "aud"):
        assert signed["payload"][name] == expected["payload"][name]
    lifetimes = [token["payload"]["exp"] - token["payload"]["iat"] for token in (signed, expected)]
    assert lifetimes[0] == lifetimes[1]


async def test_a_cancelled_wait_for_a_token_ends_at_once(org: SimulatedOrg, url: str) -> None:
    """Cancelling ends a wait for the token endpoint's rate limit at once."""
    org.faults.next(1, faults.hang(), path=TOKEN_PATH)
    async with client_of(url, app=APP) as client:
        task = asyncio.create_task(client.page(_query()))
        await org.faults.hangs.reached()
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=1)
    assert done == {task}
    assert task.cancelled()
