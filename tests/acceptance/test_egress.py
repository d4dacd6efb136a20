"""The program behind an egress proxy."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from oktawatch.simulator import SimulatedOrg, generate, running
from tests.support.certificates import HOST, PrivateCa
from tests.support.http import HttpReceiver, receiving
from tests.support.logclient import event
from tests.support.program import Program, errors
from tests.support.proxy import PASSWORD, URL_PASSWORD, ForwardProxy, forwarding

CA = '[poll]\nca_file = "ca.pem"\n'


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    """Run a proxy that requires a password."""
    with forwarding() as proxy:
        yield proxy


@pytest.fixture
def org() -> SimulatedOrg:
    """Return an org with a few events."""
    org = SimulatedOrg()
    org.extend(generate(12, end=datetime.now(UTC), span=timedelta(minutes=30)))
    return org


@pytest.fixture
def port(org: SimulatedOrg, tmp_path: Path) -> Iterator[str]:
    """Serve the org with a certificate of a private authority, which is in ca.pem."""
    with running(org, tls=PrivateCa(tmp_path).server) as url:
        yield url.rpartition(":")[2]


@pytest.mark.parametrize("where", ["the configuration", "a file", "the environment"])
def test_polls_go_through_the_proxy(
    program: Program, org: SimulatedOrg, port: str, proxy: ForwardProxy, where: str
) -> None:
    """An org whose name only the proxy can resolve is polled, and no file contains the proxy's password."""
    (program.folder / "proxy").write_text(proxy.url)
    more = {"the configuration": f'proxy = "{proxy.url}"\n', "a file": 'proxy_file = "proxy"\n'}
    program.configure(("acme", f"https://{HOST}:{port}", org.token), more=CA + more.get(where, ""))
    environment = {"HTTPS_PROXY": proxy.url} if where == "the environment" else {}

    done = program.run("run", "--once", "--debug", **environment)

    assert done.returncode == 0, done.stderr
    assert program.rows("SELECT count(*) FROM events") == [(12,)]
    assert set(proxy.asked) == {f"CONNECT {HOST}:{port} HTTP/1.1"}
    written = done.stdout + done.stderr + (program.folder / "oktawatch.db").read_bytes().decode("latin-1")
    assert PASSWORD not in written
    assert URL_PASSWORD not in written


def test_hosts_in_no_proxy_are_reached_directly(
    program: Program, org: SimulatedOrg, port: str, proxy: ForwardProxy
) -> None:
    """Hosts in NO_PROXY are reached directly, even if poll.proxy is set."""
    program.configure(("acme", f"https://localhost:{port}", org.token), more=f'{CA}proxy = "{proxy.url}"\n')

    done = program.run("run", "--once", NO_PROXY="localhost")

    assert done.returncode == 0, done.stderr
    assert proxy.asked == []


def test_an_untrusted_certificate_is_reported(program: Program, org: SimulatedOrg, port: str) -> None:
    """An untrusted certificate is reported in one line with the key to set."""
    program.configure(("acme", f"https://localhost:{port}", org.token))

    done = program.run("run", "--once")

    assert done.returncode == 1
    (error,) = errors(done.stderr)
    assert "the connection is not trusted (acme" in error
    assert "set poll.ca_file" in error
    assert org.requests == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "expected a readable file"), ("no certificate\n", "expected certificates in PEM")],
)
def test_a_ca_file_without_certificates_is_reported(
    program: Program, content: str | None, expected: str
) -> None:
    """A CA file that can't be used is reported before any request."""
    if content is not None:
        (program.folder / "ca.pem").write_text(content)
    program.configure(("acme", "https://acme.okta.com", "00invented"), more=CA)

    for command in (["run", "--once"], ["run"], ["backfill", "--since", "1h"]):
        done = program.run(*command)
        assert done.returncode == 2, done.stderr
        (error,) = errors(done.stderr)
        assert f"oktawatch.toml: poll.ca_file): {expected}" in error
    assert not (program.folder / "oktawatch.db").exists()


def test_check_reports_an_untrusted_certificate(program: Program) -> None:
    """`check` reports the certificate of every org."""
    program.configure(("acme", "https://acme.okta.com", "00invented"), more=CA)

    done = program.run("check")

    assert done.returncode == 1
    assert "expected a readable file" in done.stdout


@pytest.fixture
def hooked(
    program: Program, org: SimulatedOrg, tmp_path: Path, proxy: ForwardProxy
) -> Iterator[HttpReceiver]:
    """Configure an org with an alert, and a webhook and a heartbeat whose names only the proxy can resolve."""
    ca = PrivateCa(tmp_path)
    org.persist(event(1, datetime.now(UTC), securityContext={"isProxy": True}))
    with running(org, tls=ca.server) as url, receiving(tls=ca.server) as hook:
        host = f"https://{HOST}:{hook.url.split(':')[2]}"
        notifier = f'[[notifiers]]\nname = "soc"\ntype = "webhook"\nurl = "{host}"\n'
        silence = f'[silence]\nheartbeat_url = "{host}/alive"\n'
        more = f'{CA}proxy = "{proxy.url}"\n{silence}{notifier}'
        program.configure(("acme", f"https://{HOST}:{url.rpartition(':')[2]}", org.token), more=more)
        yield hook


def test_webhooks_and_heartbeats_go_through_the_proxy(
    program: Program, hooked: HttpReceiver, proxy: ForwardProxy
) -> None:
    """Webhooks and heartbeats use the proxy and the private authority, and no file contains the proxy's password."""
    done = program.run("run", "--once", "--debug")

    assert done.returncode == 0, done.stderr
    kinds = {one.json["type"] if one.body else "heartbeat" for one in hooked.taken}
    assert kinds >= {"heartbeat", "alert.opened"}
    assert all(line.startswith(f"CONNECT {HOST}:") for line in proxy.asked)
    assert PASSWORD not in done.stdout + done.stderr
    assert URL_PASSWORD not in done.stdout + done.stderr


@pytest.mark.usefixtures("hooked")
def test_explanations_go_through_the_proxy(program: Program) -> None:
    """`explain` uses the proxy to ask Okta for an event."""
    assert program.run("run", "--once").returncode == 0

    explanation = program.json("explain", event(1, datetime.now(UTC))["uuid"])

    assert (explanation["source"], explanation["trouble"]) == ("okta", None)


@pytest.mark.usefixtures("hooked")
def test_check_reaches_a_webhook_through_the_proxy(program: Program) -> None:
    """`check` does not resolve a host that only the proxy can resolve."""
    findings = {one["about"]: one for one in program.json("check")["findings"]}

    assert findings["notifier soc"]["verdict"] == "ok"
    assert "its proxy can be reached" in findings["notifier soc"]["message"]


def test_a_refusal_of_the_proxy_is_reported(
    program: Program, hooked: HttpReceiver, proxy: ForwardProxy
) -> None:
    """A proxy's refusal is the org's last error, without the proxy's URL."""
    proxy.refusal = "403 Forbidden"
    program.run("run", "--once")
    proxy.refusal = None
    program.run("run", "--once")  # now the org can be read, and the alert is committed
    proxy.refusal = "403 Forbidden"
    program.change("UPDATE notifications SET state = 'pending', next_attempt_at = '2026-01-01T00:00:00.000Z'")

    done = program.run("run", "--once")

    assert [error for (error,) in program.rows("SELECT DISTINCT last_error FROM notifications")] == [
        "the proxy refused the request (status 403)"
    ]
    assert PASSWORD not in done.stdout + done.stderr
    assert len({one.headers.get("Idempotency-Key") for one in hooked.taken}) > 1
