"""No output of oktawatch contains a secret: every command with --debug, with orgs that echo requests."""

import json
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from aiohttp import web
from aiohttp.web import Request

from oktawatch import config
from oktawatch.service.app import Application
from oktawatch.simulator import ServiceApp, SimulatedOrg, faults, running
from oktawatch.simulator.exchange import Exchange
from oktawatch.simulator.oauth import TOKEN as TOKEN_PATH
from oktawatch.simulator.query import LOGS
from tests.support.logclient import event
from tests.support.program import Program
from tests.support.signing import CLIENT, rsa_pem, rsa_private_jwk, rsa_public_jwk

TOKEN = "00invented-token-of-nobody"
PROXY_PASSWORD = "invented+proxy%2Fpassword"
HOOK = "https://127.0.0.1:1/hooks/invented-hook-of-nobody"
HOOK_SECRET = "invented-secret-of-a-hook"
EVIDENCE_PASSWORD = "invented-account%2Fpassword"
LICENCE_KEY = "invented+licence/key"
EVIDENCE = f"https://17:{EVIDENCE_PASSWORD}@127.0.0.1:1/a.mmdb?license_key={quote(LICENCE_KEY, safe='')}"
HEARTBEAT = "https://127.0.0.1:1/ping/invented-heartbeat"
COMMANDS = (
    ("check",),
    ("run", "--once"),
    ("status",),
    ("backfill", "--since", "2h"),
    ("alerts", "list"),
    ("evidence", "update"),
    ("evidence", "list"),
)


class Echoing:
    """Orgs that echo and record each request."""

    def __init__(self) -> None:
        self.sent: set[str] = set()

    def org(self, status: int, *, app: ServiceApp | None = None, path: str = LOGS) -> SimulatedOrg:
        """Create an org that answers every second request with an error that quotes the request."""
        org = SimulatedOrg(token=TOKEN)
        if app is not None:
            org.oauth.register(app)
        org.persist(event(1, datetime.now(UTC), securityContext={"isProxy": True}))
        org.faults.some(0.5, [self._fault(status)], seed=1, path=path)
        org.faults.some(1, [self._noting()], seed=1)
        org.faults.some(1, [self._noting()], seed=1, path=TOKEN_PATH)
        return org

    async def _secrets(self, request: Request) -> list[str]:
        form = await request.post() if request.method == "POST" else {}
        sent = [request.headers.get("Authorization", ""), request.headers.get("DPoP", "")]
        sent += [str(form.get("client_assertion", ""))]
        secrets = [one.rpartition(" ")[2] for one in sent if one]
        self.sent.update(secrets)
        return secrets

    def _noting(self) -> faults.Fault:
        async def inject(exchange: Exchange) -> web.Response:
            await self._secrets(exchange.request)
            return await exchange.answer()

        return faults.Fault("noting", inject)

    def _fault(self, status: int) -> faults.Fault:
        async def inject(exchange: Exchange) -> web.Response:
            echo = " ".join(await self._secrets(exchange.request))
            body = {"errorCode": echo, "errorSummary": echo, "error": echo, "error_description": echo}
            headers = {
                "X-Okta-Request-Id": echo,
                "Location": f"https://portal.example.com/?{echo}",
                "WWW-Authenticate": echo,
                "Link": f'<https://portal.example.com/api/v1/logs?{quote(echo)}>; rel="next"',
            }
            return web.json_response(body, status=status, headers=headers)

        return faults.Fault("echo", inject)


@pytest.fixture
def echoing() -> Echoing:
    """Return orgs that echo requests."""
    return Echoing()


@pytest.fixture
def configured(program: Program, echoing: Echoing) -> Iterator[Program]:
    """Write a configuration with a secret of every kind."""
    key = [rsa_public_jwk("k1")]
    jwk = json.dumps(rsa_private_jwk("k1"))
    with ExitStack() as serving:

        def url(status: int, *, app: ServiceApp | None = None, path: str = LOGS) -> str:
            return serving.enter_context(running(echoing.org(status, app=app, path=path)))

        (program.folder / "acme.token").write_text(TOKEN)
        (program.folder / "acme.pem").write_text(rsa_pem())
        bound = ServiceApp(CLIENT, keys=key, dpop=True)
        orgs = [
            *((url(status), 'token_file = "acme.token"') for status in (200, 302, 400, 401, 403, 500)),
            (
                url(401, app=ServiceApp(CLIENT, keys=key)),
                f'client_id = "{CLIENT}"\nprivate_key_file = "acme.pem"',
            ),
            (url(401, app=bound), f"client_id = \"{CLIENT}\"\ndpop = true\nprivate_key = '''{jwk}'''"),
            (
                url(400, app=bound, path=TOKEN_PATH),
                f'client_id = "{CLIENT}"\ndpop = true\nprivate_key_file = "acme.pem"',
            ),
        ]
        tables = [
            f'[[orgs]]\nname = "org{number}"\nurl = "{address}"\n{credentials}\n'
            for number, (address, credentials) in enumerate(orgs)
        ]
        program.configure(
            more="\n".join(
                [
                    f'[poll]\nproxy = "http://oktawatch:{PROXY_PASSWORD}@127.0.0.1:1"',
                    f'[[evidence.sources]]\nname = "maxmind"\nurl = "{EVIDENCE}"',
                    f'[silence]\nheartbeat_url = "{HEARTBEAT}"',
                    f'[[notifiers]]\ntype = "webhook"\nurl = "{HOOK}"\nsecret = "{HOOK_SECRET}"',
                    '[service]\nlisten = ""\nlog_level = "debug"',
                    *tables,
                ]
            )
        )
        yield program


def _configured_secrets() -> set[str]:
    jwk = rsa_private_jwk("k1")
    return {
        TOKEN,
        PROXY_PASSWORD,
        "invented-hook-of-nobody",
        HOOK_SECRET,
        EVIDENCE_PASSWORD,
        unquote(EVIDENCE_PASSWORD),
        LICENCE_KEY,
        "invented-heartbeat",
        *(line for line in rsa_pem().splitlines() if not line.startswith("-----")),
        *(jwk[name] for name in ("d", "p", "q", "dp", "dq", "qi")),
    }


def _leaks(text: str, secrets: set[str]) -> list[str]:
    """Return the secrets that a text contains, as they are or percent-encoded, and signed tokens."""
    found = [secret[:12] for secret in secrets if secret in text or quote(secret, safe="") in text]
    return found + re.findall(r"eyJ[\w-]{10,}\.[\w-]+", text)


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in {"oktawatch.toml", "acme.token", "acme.pem"}:
            yield path.name, path.read_bytes().decode("latin-1")


def test_no_output_and_no_file_contains_a_secret(configured: Program, echoing: Echoing) -> None:
    """Standard output, the debug log with its tracebacks, and the database with its write-ahead log contain no secret."""
    written = []
    for command in COMMANDS:
        done = configured.run(*command, "--debug", NO_PROXY="127.0.0.1")
        assert done.returncode in {0, 1}, done.stderr
        written += [(" ".join(command), done.stdout), (" ".join(command), done.stderr)]
        written += _files(configured.folder)
    secrets = _configured_secrets() | echoing.sent
    assert len(echoing.sent) > 20, "tokens, access tokens, assertions and proofs"
    assert any(name == "oktawatch.db" for name, _ in written)
    assert sum("[token]" in text for _, text in written) > 3, "what was echoed was quoted without them"
    assert {name: leaks for name, text in written if (leaks := _leaks(text, secrets))} == {}


def test_no_repr_and_no_error_contains_a_secret(configured: Program) -> None:
    """Settings, credentials and their errors contain no secret, not even in the frames of a traceback."""
    settings = config.load(configured.folder / "oktawatch.toml", environ={})
    app = Application.build(settings)
    shown = [
        f"{settings!r} {settings} {settings.orgs} {settings.notifiers}",
        repr(app.accesses),
        repr(app.notifiers),
    ]
    shown += [repr(vars(app)), repr(app.heartbeat), *map(repr, app.evidence_sources.fetched)]
    text = (configured.folder / "oktawatch.toml").read_text()
    for mistake in ("interval = 7", "[nonsense]", 'token = ["x"]', "= broken"):
        (configured.folder / "oktawatch.toml").write_text(f"{text}\n{mistake}\n")
        with pytest.raises(config.ConfigError) as caught:
            config.load(configured.folder / "oktawatch.toml", environ={})
        shown += traceback.format_exception(caught.value)
    assert _leaks("\n".join(shown), _configured_secrets()) == []


def test_a_leaked_secret_is_found() -> None:
    """The search finds secrets as they are and in URLs."""
    assert _leaks(f"token {TOKEN}", {TOKEN}) == [TOKEN[:12]]
    assert _leaks("a%2Fb%2Bc", {"a/b+c"}) == ["a/b+c"]
    assert _leaks("Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIi.c2ln", set()) == ["eyJhbGciOiJSUzI1NiJ9.eyJzdWIi"]


def test_only_the_owner_can_read_the_database(program: Program) -> None:
    """Only its owner can read the database file, whatever the umask is."""
    program.configure(("acme", "http://127.0.0.1:9", TOKEN))
    before = os.umask(0)
    try:
        assert program.run("db", "upgrade").returncode == 0
    finally:
        os.umask(before)
    assert (program.folder / "oktawatch.db").stat().st_mode & 0o777 == 0o600
