"""Evidence with a URL: the daemon fetches it, and alerts have the kind that it gives."""

import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from oktawatch.simulator import SimulatedOrg, running
from tests.support.certificates import HOST, PrivateCa
from tests.support.daemon import Daemon, until
from tests.support.http import receiving
from tests.support.logclient import event
from tests.support.program import Program, errors
from tests.support.proxy import PASSWORD, URL_PASSWORD, ForwardProxy, forwarding
from tests.support.publisher import Publisher, status

KEY = "invented-licence-key"
SETTINGS = '[poll]\ninterval = "1s"\n[service]\nlisten = ""\nlog_format = "json"\nlog_level = "debug"\n'
LIST = "198.51.100.7\n203.0.113.0/24\n"


def source(url: str) -> str:
    """Return the configuration of a source with a URL."""
    return f'[[evidence.sources]]\nname = "exits"\nurl = "{url}?key={KEY}"\nkind = "tor"\noperator = "Tor"\n'


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    """Serve a list that contains the addresses of the events."""
    with receiving(receiver=Publisher(LIST, etag='"one"')) as receiver:
        assert isinstance(receiver, Publisher)
        yield receiver


def sign_in(org: SimulatedOrg, number: int, address: str) -> None:
    """Add a sign-in from an address that Okta marks as a proxy."""
    client = {"ipAddress": address}
    proxied = event(number, datetime.now(UTC), securityContext={"isProxy": True}, client=client)
    org.persist(proxied | {"actor": {"id": f"00u{number}", "alternateId": f"q{number}@example.com"}})


def test_the_daemon_starts_without_evidence_and_uses_it_once_fetched(
    tmp_path: Path, publisher: Publisher
) -> None:
    """A server that fails at first is asked again. Its list determines the alert's kind, also after a reload."""
    org = SimulatedOrg()
    publisher.respond = status(500)
    with running(org) as url:
        acme = f'[[orgs]]\nname = "acme"\nurl = "{url}"\ntoken = "{org.token}"\n'
        with Daemon(tmp_path, SETTINGS + source(publisher.url) + acme) as daemon:
            assert daemon.logged("evidence_missing")["source"] == "exits"
            failed = daemon.logged("evidence_update_failed")
            assert (failed["reason"], failed["error"]) == ("unreachable", "status 500")
            sign_in(org, 1, "203.0.113.7")
            assert daemon.logged("alert_opened")["severity"] == "MEDIUM"

            publisher.respond = None
            (tmp_path / "evidence" / "exits" / "state.json").unlink()  # don't wait for the next attempt
            daemon.process.send_signal(signal.SIGHUP)
            daemon.logged("evidence_loaded")
            sign_in(org, 2, "203.0.113.8")
            until(lambda: len(daemon.events("alert_opened")) > 1, "the second alert")
            assert daemon.events("alert_opened")[1]["severity"] == "HIGH"

            daemon.process.send_signal(signal.SIGHUP)
            until(lambda: len(daemon.events("daemon_reloaded")) > 1, "the second reload")
            sign_in(org, 3, "203.0.113.9")
            until(lambda: len(daemon.events("alert_opened")) > 2, "the third alert")
            assert daemon.events("alert_opened")[2]["severity"] == "HIGH"
            assert len(daemon.events("evidence_updated")) == 1
            assert daemon.stop()[0] == 0
        written = b"".join(path.read_bytes() for path in tmp_path.rglob("*.*") if path.suffix != ".toml")
    assert KEY.encode() not in written


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    """Run a proxy with a password. Only the proxy can resolve the host of the list."""
    with forwarding() as proxy:
        yield proxy


def test_evidence_is_fetched_through_the_proxy_with_the_private_ca(
    program: Program, tmp_path: Path, proxy: ForwardProxy
) -> None:
    """Requests for evidence use poll.proxy and poll.ca_file like all others."""
    ca = PrivateCa(tmp_path)
    poll = f'[poll]\nca_file = "ca.pem"\nproxy = "{proxy.url}"\n'
    with receiving(receiver=Publisher(LIST), tls=ca.server) as receiver:
        port = receiver.url.split(":")[2].partition("/")[0]
        url = f"https://{HOST}:{port}/exits"
        program.configure(("acme", "https://acme.okta.com", "00invented"), more=poll + source(url))

        (row,) = program.json("evidence", "update", "--debug")

        assert (row["result"], row["contents"]) == ("updated", "2 networks")
        assert proxy.asked == [f"CONNECT {HOST}:{port} HTTP/1.1"]

        proxy.refusal = "403 Forbidden"
        refused = program.run("evidence", "update", "--debug")
        assert errors(refused.stderr) == ["error: exits: the proxy refused the request (status 403)"]
        written = refused.stderr + refused.stdout
        assert [secret for secret in (KEY, PASSWORD, URL_PASSWORD) if secret in written] == []


def test_nothing_is_fetched_from_a_server_with_an_untrusted_certificate(
    program: Program, tmp_path: Path
) -> None:
    """Without the private CA, nothing is fetched."""
    with receiving(receiver=Publisher(LIST), tls=PrivateCa(tmp_path).server) as receiver:
        url = receiver.url.replace("127.0.0.1", "localhost")
        program.configure(("acme", "https://acme.okta.com", "00invented"), more=source(url))
        done = program.run("evidence", "update")
    assert done.returncode == 1
    assert errors(done.stderr) == ["error: exits: its TLS certificate is not accepted"]
    assert receiver.received == []
