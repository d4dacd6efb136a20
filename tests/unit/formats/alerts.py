"""Alerts as the database returns them, including hostile values that strangers can type."""

from typing import Any

from hypothesis import strategies as st

EVENT = {
    "event_uuid": "00000000-0000-4000-8000-000000000001",
    "published": "2026-11-02T12:00:00.000Z",
    "event_type": "user.session.start",
    "outcome": "FAILURE",
    "outcome_reason": "INVALID_CREDENTIALS",
    "client_ip": "203.0.113.7",
    "user_agent": "ExampleBrowser/1.0",
}
ALERT: dict[str, Any] = {
    "id": 17, "org": "acme", "rule_id": "Okta.Anonymizing.VPN.Login", "dedup_key": '["00u1","203.0.113.7"]',
    "anchor": "2026-11-02T12:00:00.000Z", "severity": "MEDIUM", "status": "closed", "disposition": "benign",
    "title": "Nora Vale tried to sign in", "event_count": 1, "first_event_at": "2026-11-02T12:00:00.000Z",
    "last_event_at": "2026-11-02T12:05:30.000Z", "successes": 0, "failures": 1, "succeeded_at": None,
    "failed_at": "2026-11-02T12:00:00.000Z", "risen": False, "created_at": "2026-11-02T12:00:01.000Z",
    "updated_at": "2026-11-02T12:06:00.000Z", "closed_at": "2026-11-02T13:00:00.000Z", "closed_by": "abel",
    "actor_id": "00u1", "actor_alternate_id": "nora@example.com", "actor_display_name": "Nora Vale",
    "client_ip": "203.0.113.7", "country": "Norway", "city": "Oslo", "as_number": 64500, "as_org": "Example Net",
    "isp": "Example ISP", "domain": "example.net", "outcome_result": "FAILURE", "outcome_reason": "INVALID_CREDENTIALS",
    "anonymizer": "commercial_vpn", "operator": "NORD_VPN", "note": "asked her", "change_id": 1_793_620_800_000,
    "context": {"event_type": "user.session.start", "client": {"userAgent": {"rawUserAgent": "ExampleBrowser/1.0"}}},
    "rule_name": "Sign-in from an anonymizer", "mitre": ["TA0001:T1078.004", "TA0006:T1556"],
    "url": "https://acme-admin.okta.com/report/system_log_2", "events": [EVENT],
}  # fmt: skip

_text = st.sampled_from(
    [
        None,
        "",
        "\x00\x1b[2J\r\n\u2028\x7f",
        "<script>",
        "203.0.113.7",
        "::1",
        "fe80::1%eth0",
        "a@b",
        "a@b.c",
        "'a b'@c.d",
        "@",
    ]
) | st.text(max_size=20)
_moment = st.sampled_from(
    ["0001-01-01T00:00:00.000Z", "2026-11-02T12:00:00.000Z", "9999-12-31T23:59:59.999Z"]
)
_NULLABLE = (
    "actor_id", "actor_alternate_id", "actor_display_name", "client_ip", "country", "city", "as_org", "isp", "domain",
    "outcome_result", "outcome_reason", "note", "operator", "rule_name",
)  # fmt: skip


@st.composite
def alerts(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an alert with any text in the fields that strangers and operators type."""
    event = EVENT | {name: draw(_text) for name in EVENT if name not in ("event_uuid", "published")}
    return (
        ALERT
        | {name: draw(_text) for name in _NULLABLE}
        | {name: draw(_moment) for name in ("first_event_at", "last_event_at", "created_at", "updated_at")}
        | {
            "title": draw(st.text(max_size=20)),
            "severity": draw(st.sampled_from(["INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL"])),
            "status": draw(st.sampled_from(["open", "acknowledged", "closed", "pending"])),
            "disposition": draw(st.sampled_from([None, "true_positive", "false_positive", "benign"])),
            "as_number": draw(st.sampled_from([None, 0, 2**62])),
            "url": draw(st.sampled_from([None, "https://acme-admin.okta.com/"])),
            "mitre": draw(st.lists(st.sampled_from(["TA0001", "T1078", "TA0001:T1078.004", "", "T1", "x"]), max_size=3)),
            "context": draw(st.sampled_from([{}, [], "x", {"client": 1}, {"client": {"userAgent": {"rawUserAgent": 7}}}])),
            "events": draw(st.lists(st.just(event), max_size=2)),
        }
    )  # fmt: skip
