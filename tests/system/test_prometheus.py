"""Prometheus' own tools check the alert rules, and evaluate them over series of samples."""

import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "config" / "prometheus" / "alerts.yml"
TESTS = Path(__file__).with_name("alerts.test.yml")


def _promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)


def test_the_rules_are_valid() -> None:
    """Promtool accepts the rules."""
    done = _promtool("check", "rules", RULES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_only_on_bad_series() -> None:
    """Every rule fires on bad series, and none on those of a daemon that works."""
    done = _promtool("test", "rules", TESTS)
    assert done.returncode == 0, done.stdout + done.stderr
    alerts = {
        rule["alert"]
        for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]
        for rule in group["rules"]
    }
    tested = yaml.safe_load(TESTS.read_text("utf-8"))["tests"]
    fire = {case["alertname"] for test in tested for case in test["alert_rule_test"] if "exp_alerts" in case}
    assert fire == alerts


def test_each_alert_is_documented() -> None:
    """docs/operate.md says what to do about every alert."""
    text = (ROOT / "docs" / "operate.md").read_text("utf-8")
    assert set(re.findall(r"`(Oktawatch\w+)`", text)) == set(
        re.findall(r"alert: (\w+)", RULES.read_text("utf-8"))
    )
