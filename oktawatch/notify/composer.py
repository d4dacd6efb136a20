"""From a row of the outbox to what it says."""

from collections.abc import Iterator, Mapping
from textwrap import shorten
from typing import Any

import msgspec
from msgspec import Struct

from oktawatch.model.notification import DueNotification, NotificationKind
from oktawatch.model.severity import Severity
from oktawatch.notify.alarms import alarm_message
from oktawatch.notify.digests import digest_message
from oktawatch.notify.links import event_link
from oktawatch.notify.message import Line, Message
from oktawatch.notify.text import given, harmless

_LONGEST_RUNBOOK = 600  # characters; it is the rule's own
_MOST = 5  # kinds of anonymizers


class RuleText(Struct, frozen=True):
    """What a rule says of itself."""

    name: str
    runbook: str


class Composer(Struct, frozen=True, kw_only=True):
    """Makes messages: knows the orgs' addresses and the rules' words."""

    orgs: Mapping[str, str]
    """Name to URL."""
    rules: Mapping[str, RuleText]

    def compose(self, due: DueNotification) -> Message:
        """Say what is due."""
        if due.alert is not None:
            return self._alert(due, due.alert)
        if due.digest is not None:
            return digest_message(due.id, due.digest)
        if due.kind is NotificationKind.SILENCE and due.content is not None:
            return alarm_message(due.id, due.content)
        if due.kind is NotificationKind.TEST:
            return _test(due)
        raise ValueError(f"there is nothing to say of a notification of kind {due.kind}")

    def _alert(self, due: DueNotification, alert: dict[str, Any]) -> Message:
        rule = self.rules.get(alert["rule_id"])
        name = rule.name if rule else given(alert["rule_id"])
        worse = " (became worse)" if due.kind is NotificationKind.RAISED else ""
        kind = f"alert.{due.kind}"
        return Message(
            id=due.id,
            type=kind,
            severity=Severity[alert["severity"]],
            heading=f"[{alert['severity']}] {name}{worse} in {harmless(alert['org'])}",
            lines=tuple(self._alert_lines(due, alert, rule)),
            body={"type": kind, "alert": alert, "runbook": _runbook(rule) if rule else ""},
        )

    def _alert_lines(
        self, due: DueNotification, alert: dict[str, Any], rule: RuleText | None
    ) -> Iterator[Line]:
        yield Line("What", harmless(alert["title"], 300), typed=True)
        yield Line("Severity", alert["severity"])
        yield Line("Who", _who(alert), typed=True)
        if place := _where(alert):
            yield Line("From", place, typed=True)
        if anonymizer := _anonymizer(alert["context"]):
            yield Line("Anonymizer", anonymizer, typed=True)
        yield Line("When", _when(alert))
        if outcome := _joined(alert["outcome_result"], alert["outcome_reason"], between=": "):
            yield Line("Outcome", outcome, typed=True)
        yield Line("Events", str(alert["event_count"]))
        yield Line("Org", given(alert["org"]), typed=True)
        if rule is not None:
            yield Line("What to do", _runbook(rule))
        yield Line("Acknowledge", f"oktawatch alerts ack {alert['id']}", typed=True)
        link = event_link(self.orgs.get(alert["org"], ""), due.event) if due.event else None
        if link is not None:
            yield Line("In Okta", "open the event", link=link)


def _test(due: DueNotification) -> Message:
    text = "This is a test: oktawatch can reach you here. Nothing has happened."
    return Message(
        id=due.id,
        type="test",
        severity=None,
        heading="[TEST] oktawatch",
        lines=(Line("Test", text),),
        body={"type": "test", "message": text},
    )


def _runbook(rule: RuleText) -> str:
    """Give a rule's runbook as one line; the operator's own may have many, and any length."""
    return shorten(rule.runbook, _LONGEST_RUNBOOK, placeholder=" …")


def _who(alert: Mapping[str, Any]) -> str:
    name, login = alert["actor_display_name"], alert["actor_alternate_id"]
    if name and login:
        return f"{harmless(name, 100)} ({harmless(login, 100)})"
    return harmless(name or login or alert["actor_id"] or "somebody")


def _where(alert: Mapping[str, Any]) -> str:
    number = f"AS{alert['as_number']}" if alert["as_number"] is not None else None
    network = _joined(number, alert["as_org"] or alert["isp"], between=" ")
    return _joined(alert["client_ip"], _joined(alert["city"], alert["country"], between=", "), network)


def _when(alert: Mapping[str, Any]) -> str:
    first, last = (alert[name].replace("T", " ")[:19] for name in ("first_event_at", "last_event_at"))
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"


def _joined(*parts: object, between: str = " · ") -> str:
    return between.join(harmless(part, 100) for part in parts if part)


def _anonymizer(context: Any) -> str:
    """Name the kinds of services that Okta saw behind the address: ``VPN (NORD_VPN)``."""
    categories = _inside(context, "security_context", "ipDetails", "ipServiceCategories")
    tunnels = _inside(context, "debug_context", "debugData", "tunnels")
    if isinstance(tunnels, str):
        try:
            tunnels = msgspec.json.decode(tunnels)
        except msgspec.DecodeError:
            tunnels = []
    kinds: dict[str, None] = {}
    for one in [*_objects(categories), *_objects(tunnels)]:
        kind, operator = one.get("type"), one.get("operator")
        named = f" ({harmless(operator, 40)})" if operator and kind else harmless(operator or "", 40)
        if text := (harmless(kind, 40) if kind else "") + named:
            kinds[text] = None
    return ", ".join(list(kinds)[:_MOST])


def _inside(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
