"""Describe an alert in words: its actor, anonymizer, origin, outcome and novelties.

The functions that describe an alert take its row as a JSON object. All text that they return is safe to display.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from oktawatch.model.anonymizer_kind import AnonymizerKind
from oktawatch.model.json_values import inside, string
from oktawatch.model.privacy import is_placeholder
from oktawatch.model.risk import NEW_DEVICE, Assessment, assess
from oktawatch.model.severity import RISES_FROM, Severity
from oktawatch.model.sighting import Novelty
from oktawatch.model.wire import RiskContext, RiskData
from oktawatch.notify.anonymizers import anonymizers_of, read_anonymizers
from oktawatch.notify.rule_text import RuleText
from oktawatch.notify.text import harmless, harmless_name

_LONGEST_AGENT = 160  # characters
_LONGEST_PLACE = 60
_SIGN_IN = "user.session.start"

_LABELS = {kind.value: kind.label for kind in AnonymizerKind}

AlertRow = Mapping[str, Any]
"""A row of ``alerts`` as JSON values."""


def sentence(alert: AlertRow, rule: RuleText | None, failures_before: int | None) -> str:
    """Return the alert in one phrase: ``nora@example.com signed in through NordVPN, Oslo``.

    ``failures_before`` is the number of failures before the first success; None if no success followed a failure.
    """
    who = login(alert)
    where_from = next((alert[name] for name in ("city", "country", "client_ip") if alert[name]), None)
    where = f", {harmless(where_from, _LONGEST_PLACE)}" if where_from else ""
    before = _failures_before(alert, failures_before)
    got_in = f"got in after {count(before, 'failure')}" if alert["risen"] and before else None
    if rule is None or not rule.about_sign_in or not _is_anonymized_sign_in(alert["context"]):
        name = rule.name if rule else harmless_name(alert["rule_id"])
        return f"{who} {got_in}: {name}{where}" if got_in else f"{who}: {name}{where}"
    verb = got_in or ("signed in" if alert["successes"] else "tried to sign in")
    return f"{who} {verb} through {_anonymizer(alert)}{where}"


def login(alert: AlertRow) -> str:
    """Return the login of an alert's actor. Without a login, return the display name or id."""
    return harmless(
        alert["actor_alternate_id"] or alert["actor_display_name"] or alert["actor_id"] or "somebody", 100
    )


def person(alert: AlertRow) -> str:
    """Return name and login: ``Nora Vale (nora@example.com)``."""
    name, alternate_id = alert["actor_display_name"], alert["actor_alternate_id"]
    if name and alternate_id and name != alternate_id:
        return f"{harmless(name, 100)} ({harmless(alternate_id, 100)})"
    return login(alert)


def place(alert: AlertRow) -> str:
    """Return address, place and network: ``203.0.113.7 · Oslo, Norway · AS64500 Example Net``."""
    number = f"AS{alert['as_number']}" if alert["as_number"] is not None else None
    network = joined(number, alert["as_org"] or alert["isp"], separator=" ")
    domain = alert["domain"] if alert["domain"] not in (alert["as_org"], alert["isp"]) else None
    return joined(
        alert["client_ip"], joined(alert["city"], alert["country"], separator=", "), network, domain
    )


def anonymizers(alert: AlertRow) -> str:
    """Return the kinds of anonymizers and their operators: ``VPN (NORD_VPN)``, ``Tor``."""
    return ", ".join(anonymizer.detailed() for anonymizer in anonymizers_of(alert))


def severity(alert: AlertRow) -> str:
    """Return the severity and its reasons: ``HIGH: Tor, success from a new device and place``.

    Empty if no reasons are known. The reasons belong to the event that opened the alert. If a later event raised
    the severity, the text says so.
    """
    first, found = (inside(alert["context"], key) for key in ("match_severity", "severity_reasons"))
    if not isinstance(found, list) or not found:
        return ""
    listed = reasons([string(reason) for reason in found])
    if not isinstance(first, str) or first == alert["severity"]:
        return f"{alert['severity']}: {listed}"
    cause = "a success after failures" if raised_by_success(alert) else "a later event"
    return f"{alert['severity']}, raised by {cause}; initially {harmless(first, 20)} ({listed})"


def raised_by_success(alert: AlertRow) -> bool:
    """Return whether a success after failures has raised the severity, or would have if it were not CRITICAL already."""
    return bool(alert["risen"]) and Severity[alert["severity"]] > RISES_FROM


def reasons(texts: Sequence[str]) -> str:
    """Return the reasons for a severity in words: ``commercial VPN, familiar to this person``."""
    return ", ".join(_LABELS.get(reason) or harmless(reason, 100) for reason in texts)


def outcome(alert: AlertRow, failures_before: int | None) -> str:
    """Return the outcome with counts: ``3 failures, then a success at 12:00:08 UTC``."""
    successes, failures = alert["successes"], alert["failures"]
    others = alert["event_count"] - successes - failures
    before = _failures_before(alert, failures_before)
    if alert["risen"] and alert["succeeded_at"] and before:
        counts = f"{count(before, 'failure')}, then a success at {alert['succeeded_at'][11:19]} UTC"
        if (successes, failures) != (1, before):
            counts += f"; in all {count(successes, 'success', 'successes')} and {count(failures, 'failure')}"
    elif successes or failures:
        counts = ", ".join(
            [
                *([count(successes, "success", "successes")] if successes else []),
                *([count(failures, "failure")] if failures else []),
                *(["no success"] if not successes else []),
            ]
        )
    else:
        return joined(alert["outcome_result"], alert["outcome_reason"], separator=": ")
    more = f", {count(others, 'other event')}" if others > 0 else ""
    reason = f" (the first: {harmless(alert['outcome_reason'], 100)})" if alert["outcome_reason"] else ""
    return f"{counts}{more}{reason}"


def client(alert: AlertRow) -> str:
    """Return the browser, operating system and user agent: ``CHROME on Windows 10 · Mozilla/5.0 …``."""
    agent = inside(alert["context"], "client", "userAgent")
    browser, system, raw = (string(inside(agent, key)) for key in ("browser", "os", "rawUserAgent"))
    known = [value for value in (browser, system) if not _is_unknown(value)]
    shown = [] if _is_unknown(raw) else [harmless(raw, _LONGEST_AGENT)]
    return " · ".join([*([" on ".join(harmless(value, 50) for value in known)] if known else []), *shown])


def assessment(alert: AlertRow) -> str:
    """Return Okta's risk assessment: ``risk HIGH · New Country, New Device``."""
    assessed = _assess(alert)
    risk = [f"risk {harmless(assessed.risk, 20)}"] if assessed.risk else []
    behaviours = [harmless(", ".join(assessed.behaviours))] if assessed.behaviours else []
    return " · ".join(risk + behaviours)


def new_for_person(alert: AlertRow, novelty: Novelty) -> list[str]:
    """Return the attributes that were new for the alert's actor. Whether the device is new comes from Okta."""
    device = ["device"] if NEW_DEVICE in _assess(alert).behaviours else []
    return [*novelty.new, *device]


def _assess(alert: AlertRow) -> Assessment:
    security = inside(alert["context"], "security_context")
    data = inside(alert["context"], "debug_context", "debugData")
    return assess(
        RiskContext(risk=inside(security, "risk"), userBehaviors=inside(security, "userBehaviors")),
        RiskData(
            risk=inside(data, "risk"),
            behaviors=inside(data, "behaviors"),
            logOnlySecurityData=inside(data, "logOnlySecurityData"),
        ),
    )


def when(alert: AlertRow) -> str:
    """Return the times of the first and the last event, and the number of events."""
    first, last = (alert[name].replace("T", " ")[:19] for name in ("first_event_at", "last_event_at"))
    span = f"{first} UTC" if first == last else f"{first} to {last} UTC"
    return f"{span}, {count(alert['event_count'], 'event')}"


def joined(*parts: object, separator: str = " · ") -> str:
    """Join the parts that are not empty, as harmless text."""
    return separator.join(harmless(part, 100) for part in parts if part)


def count(number: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 failure``, ``3 failures``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _failures_before(alert: AlertRow, counted: int | None) -> int:
    """Return the number of failures before the first success, or of all failures if that number is unknown.

    It is 0 in a risen alert if a late success is earlier than all failures.
    """
    return counted if counted is not None else alert["failures"]


def _is_anonymized_sign_in(context: Any) -> bool:
    proxied = inside(context, "security_context", "isProxy") is True or bool(read_anonymizers(context))
    return proxied and inside(context, "event_type") == _SIGN_IN


def _anonymizer(alert: AlertRow) -> str:
    return next((anonymizer.name() for anonymizer in anonymizers_of(alert)), "an anonymizing proxy")


def _is_unknown(value: str) -> bool:
    return is_placeholder(value) or value.upper() == "UNKNOWN"
