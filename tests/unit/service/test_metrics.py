"""The metrics have documented names, bounded labels and the format that Prometheus reads."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from oktawatch.engine.follow import NoProgressError
from oktawatch.engine.health import judge
from oktawatch.engine.pipeline import PageResult
from oktawatch.model.notification import NotificationState
from oktawatch.model.severity import Severity
from oktawatch.service.counters import Counters
from oktawatch.service.failure_log import UNEXPECTED
from oktawatch.service.metrics import render
from oktawatch.service.vitals import Snapshot
from oktawatch.store.gauges import Gauges
from oktawatch.store.space import Space
from oktawatch.store.status import PollState
from oktawatch.systemlog.errors import SystemLogError

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"
HOSTILE = 'a"}\n# HELP oktawatch_x \\'


def _state(org: str, caught_up_at: datetime | None) -> PollState:
    return PollState(
        org=org,
        last_poll_at=NOW,
        last_caught_up_at=caught_up_at,
        recent_elements=0,
        recent_rejected=0,
        last_error=None,
    )


def _snapshot(*, database: bool = True) -> Snapshot:
    states = {"acme": _state("acme", NOW - timedelta(seconds=42)), "globex": _state("globex", None)}
    gauges = Gauges(
        orgs=states | {"removed": _state("removed", NOW)},
        outbox={NotificationState.PENDING: 3, NotificationState.DEAD: 1},
        space=Space(used=4096, free=8192),
    )
    return Snapshot(
        now=NOW,
        orgs=["acme", "globex"],
        notifiers=["soc"],
        held={"acme"},
        rate_limits_remaining={"acme": 57},
        gauges=gauges if database else None,
        health={org: judge(state, interval=timedelta(seconds=30), now=NOW) for org, state in states.items()}
        if database
        else {},
        evidence={"relays": NOW - timedelta(days=2)},
        database_works=database,
    )


def _counters() -> Counters:
    counters = Counters()
    counters.polled("acme", PageResult(pages=1, events=5, new_events=3, alerts={("R1", Severity.HIGH): 1}))
    counters.poll_failed("acme", "token_refused")
    counters.delivered("soc", "failed")
    counters.polls.observe(0.3)
    return counters


def _samples(text: bytes) -> dict[str, float]:
    return {
        f"{sample.name}{{{','.join(f'{key}={value}' for key, value in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_counters_and_gauges_are_rendered() -> None:
    """Counters of this process, and gauges of the database; an org that never caught up has an infinite lag."""
    samples = _samples(render(_counters(), _snapshot()))

    expected = {
        "oktawatch_events_total{org=acme}": 5,
        "oktawatch_events_total{org=globex}": 0,
        "oktawatch_duplicate_events_total{org=acme}": 2,
        "oktawatch_alerts_total{org=acme,rule=R1,severity=HIGH}": 1,
        "oktawatch_poll_failures_total{org=acme,reason=token_refused}": 1,
        "oktawatch_notifications_total{notifier=soc,result=failed}": 1,
        "oktawatch_notifications_total{notifier=soc,result=dead}": 0,
        "oktawatch_poll_seconds_bucket{le=0.25}": 0,
        "oktawatch_poll_seconds_bucket{le=0.5}": 1,
        "oktawatch_poll_seconds_bucket{le=+Inf}": 1,
        "oktawatch_poll_seconds_count{}": 1,
        "oktawatch_lag_seconds{org=acme}": 42,
        "oktawatch_lag_seconds{org=globex}": float("inf"),
        "oktawatch_last_good_poll_timestamp_seconds{org=acme}": (NOW - timedelta(seconds=42)).timestamp(),
        "oktawatch_org_polled{org=acme}": 1,
        "oktawatch_org_polled{org=globex}": 0,
        "oktawatch_rate_limit_remaining{org=acme}": 57,
        "oktawatch_outbox{state=dead}": 1,
        "oktawatch_notifications_pending{}": 3,
        "oktawatch_database_up{}": 1,
        "oktawatch_database_bytes{}": 4096,
        "oktawatch_database_free_bytes{}": 8192,
        "oktawatch_evidence_age_seconds{source=relays}": 2 * 86_400,
    }
    assert {name: samples.get(name) for name in expected} == expected
    assert not any("removed" in name for name in samples)


def test_numbers_that_cannot_be_read_are_absent() -> None:
    """Numbers that can't be read from the database are absent, and not zero, which could hide a problem."""
    samples = _samples(render(_counters(), _snapshot(database=False)))

    assert samples["oktawatch_database_up{}"] == 0
    assert samples["oktawatch_events_total{org=acme}"] == 5
    assert not any(
        name.startswith(("oktawatch_lag", "oktawatch_outbox", "oktawatch_database_b")) for name in samples
    )


def test_labels_are_escaped() -> None:
    """A name of the configuration can't add lines to the metrics."""
    counters = _counters()
    counters.polled(HOSTILE, PageResult(pages=1, events=1))

    samples = _samples(render(counters, _snapshot()))

    assert samples[f"oktawatch_events_total{{org={HOSTILE}}}"] == 1


def test_every_metric_is_documented() -> None:
    """docs/metrics.md lists exactly the metrics and their labels."""
    families = list(text_string_to_metric_families(render(_counters(), _snapshot()).decode()))
    ours = {
        sample.name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum"): tuple(
            sorted(sample.labels.keys() - {"le"})
        )
        for family in families
        for sample in family.samples
        if sample.name.startswith("oktawatch_")
    }
    rows = re.findall(r"^\| `(oktawatch_\w+)(?:\{([\w,]+)\})?` \|", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    documented = {name: tuple(sorted(labels.split(","))) if labels else () for name, labels in rows}
    assert documented == ours


def test_every_reason_of_a_failed_poll_is_documented() -> None:
    """docs/metrics.md lists the reasons of Okta's errors and those of other causes."""
    kinds = [SystemLogError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    paragraph = DOCUMENT.read_text("utf-8").partition("The reasons of `oktawatch_poll_failures_total`")[2]
    documented = set(re.findall(r"`(\w+)`", paragraph.partition(". A reason")[0]))
    assert NoProgressError in kinds
    others = {"cursor_moved", "database", UNEXPECTED}
    assert documented == {kind.reason for kind in kinds[1:]} | others
