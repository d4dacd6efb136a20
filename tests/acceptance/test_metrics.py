"""A running daemon's metrics and health, over HTTP."""

import json
import re
import signal
import socket
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from oktawatch.simulator import SimulatedOrg, running
from tests.support.daemon import Daemon, until
from tests.support.http import receiving
from tests.support.logclient import event
from tests.support.places import Kind, Place

CONFIG = Path(__file__).parents[2] / "config"
SQLITE_ONLY = {"oktawatch_database_free_bytes"}
TOKEN_IN_URL = "4f1c-secret-path"


def _expressions(name: str) -> list[str]:
    """Return the PromQL expressions of a dashboard or of alert rules."""
    text = (CONFIG / name).read_text("utf-8")
    if name.endswith(".yml"):
        return [rule["expr"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    targets = [target for panel in json.loads(text)["panels"] for target in panel.get("targets", [])]
    return [target["expr"] for target in targets if "expr" in target]


def _configuration(url: str, token: str, receiver: str, *, listen: str = "127.0.0.1:0") -> str:
    return (
        f'[poll]\ninterval = "1s"\n[service]\nlog_format = "json"\nlisten = "{listen}"\n'
        f'[[orgs]]\nname = "acme"\nurl = "{url}"\ntoken = "{token}"\n'
        f'[[notifiers]]\nname = "soc"\ntype = "webhook"\nurl = "{receiver}"\n'
    )


def _address(daemon: Daemon, number: int = 0) -> str:
    until(lambda: len(daemon.events("endpoint_listening")) > number, "an address")
    (address,) = daemon.events("endpoint_listening")[number]["address"]
    return str(address)


def _get(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def _ready(address: str) -> dict[str, Any]:
    status, body = _get(address, "/readyz")
    answer: dict[str, Any] = json.loads(body)
    assert (status == 200) == answer["ok"]
    return answer


def _samples(address: str) -> dict[str, float]:
    status, text = _get(address, "/metrics")
    assert status == 200
    return {
        f"{sample.name}{{{','.join(f'{key}={value}' for key, value in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_metrics_of_a_daemon_agree_with_its_org(place: Place) -> None:
    """Events, alerts and notifications are counted, the daemon is ready, and no secret is shown."""
    org = SimulatedOrg()
    with running(org) as url, receiving() as receiver:
        for number in range(20):
            org.persist(event(number, datetime.now(UTC), securityContext={"isProxy": True}))
        with Daemon(place, _configuration(url, org.token, receiver.url), listen=None) as daemon:
            daemon.wait_for_message("READY=1")
            address = _address(daemon)
            until(lambda: _ready(address)["ok"], "a daemon that is ready")
            until(
                lambda: _samples(address)["oktawatch_notifications_total{notifier=soc,result=delivered}"] > 0,
                "a delivery",
            )
            samples = _samples(address)
            live = set(re.findall(r"^# TYPE (\w+) ", _get(address, "/metrics")[1], re.MULTILINE))
            shown = "".join(_get(address, path)[1] for path in ("/metrics", "/readyz", "/healthz"))
            assert daemon.stop()[0] == 0

    seen, alerts = (
        place.ask("SELECT count(*) FROM events")[0][0],
        place.ask("SELECT count(*) FROM alerts")[0][0],
    )
    assert samples["oktawatch_events_total{org=acme}"] == seen >= 20
    counted = [value for name, value in samples.items() if name.startswith("oktawatch_alerts_total{")]
    assert sum(counted) == alerts > 0
    assert samples["oktawatch_lag_seconds{org=acme}"] < 30
    assert samples["oktawatch_rate_limit_remaining{org=acme}"] > 0
    assert samples["oktawatch_database_up{}"] == samples["oktawatch_org_polled{org=acme}"] == 1
    assert samples["oktawatch_poll_seconds_count{}"] > 0
    assert all(secret not in shown for secret in (org.token, TOKEN_IN_URL))
    for name in ("grafana/oktawatch.json", "prometheus/alerts.yml"):
        used = re.findall(r"oktawatch_\w+", "".join(_expressions(name)))
        names = {metric.removesuffix("_bucket") for metric in used}
        missing = names - live - (SQLITE_ONLY if place.kind is Kind.POSTGRES else set())
        assert len(names) > 5
        assert not missing, f"config/{name} uses metrics that don't exist"


def test_a_refused_token_is_named_and_counted(place: Place) -> None:
    """The reason is a label, and `/readyz` has the advice, while the process itself is healthy."""
    org = SimulatedOrg()
    with (
        running(org) as url,
        receiving() as receiver,
        Daemon(place, _configuration(url, "00wrong", receiver.url), listen=None) as daemon,
    ):
        daemon.wait_for_message("READY=1")
        address = _address(daemon)
        failures = "oktawatch_poll_failures_total{org=acme,reason=token_refused}"
        until(lambda: _samples(address).get(failures, 0) > 0, "a refused token")
        until(lambda: len(_ready(address)["problems"]) > 1, "an org with a recorded failure")
        problems = _ready(address)["problems"]
        assert _get(address, "/healthz")[0] == 200
        assert _samples(address)["oktawatch_lag_seconds{org=acme}"] == float("inf")
    assert {problem["name"] for problem in problems} == {"acme"}
    assert any("token" in problem["problem"] for problem in problems)
    assert not any("00wrong" in problem["problem"] for problem in problems)


def test_a_reload_moves_the_endpoint_and_keeps_the_counters(tmp_path: Path) -> None:
    """SIGHUP applies a new address or turns the endpoint off, and keeps the counters."""
    org = SimulatedOrg()
    with running(org) as url, receiving() as receiver:
        org.persist(event(0, datetime.now(UTC)))
        made = [
            _configuration(url, org.token, receiver.url, listen=where)
            for where in ("127.0.0.1:0", "[::1]:0", "")
        ]
        with Daemon(tmp_path, made[0], listen=None) as daemon:
            daemon.wait_for_message("READY=1")
            first = _address(daemon)
            until(lambda: _samples(first)["oktawatch_events_total{org=acme}"] > 0, "an event")
            (tmp_path / "oktawatch.toml").write_text(made[1], "utf-8")
            daemon.process.send_signal(signal.SIGHUP)
            second = "[::1]:" + _address(daemon, 1).rpartition(":")[2]
            until(lambda: bool(daemon.events("daemon_reloaded")), "a reload")
            assert _samples(second)["oktawatch_events_total{org=acme}"] > 0
            (tmp_path / "oktawatch.toml").write_text(made[2], "utf-8")
            daemon.process.send_signal(signal.SIGHUP)
            until(lambda: len(daemon.events("daemon_reloaded")) == 2, "another reload")
            for host, _, port in (first.rpartition(":"), second.rpartition(":")):
                with socket.socket(socket.AF_INET6 if "[" in host else socket.AF_INET) as client:
                    assert client.connect_ex((host.strip("[]"), int(port))) != 0
            assert daemon.stop()[0] == 0


def test_a_port_in_use_does_not_stop_the_daemon(tmp_path: Path) -> None:
    """A port in use is logged once as an error with advice, and orgs are polled."""
    org = SimulatedOrg()
    with running(org) as url, receiving() as receiver, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        org.persist(event(0, datetime.now(UTC)))
        with Daemon(
            tmp_path, _configuration(url, org.token, receiver.url, listen=address), listen=None
        ) as daemon:
            daemon.logged("page_committed")
            assert daemon.stop()[0] == 0
        (line,) = daemon.events("endpoint_failed")
    assert (line["level"], line["address"]) == ("error", address)
    assert "Address already in use" in line["error"] or "address already in use" in line["error"]
