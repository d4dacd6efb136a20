"""Compose the message of a notification from its row in the outbox."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from oktawatch.model.notification import DueNotification, NotificationKind
from oktawatch.model.severity import Severity
from oktawatch.notify import alert_text
from oktawatch.notify.alarms import alarm_message
from oktawatch.notify.console_links import event_link
from oktawatch.notify.digests import digest_message
from oktawatch.notify.message import Line, Message
from oktawatch.notify.rule_text import RuleText
from oktawatch.notify.text import harmless, harmless_name

_DECIDED = (NotificationKind.ACKNOWLEDGED, NotificationKind.CLOSED)


class Composer(Struct, frozen=True, kw_only=True):
    """Composes messages with the orgs' URLs and the rules' texts."""

    orgs: Mapping[str, str]
    """The URL of each org, by name."""
    rules: Mapping[str, RuleText]
    """The text of each rule, by id."""

    def compose(self, due: DueNotification) -> Message:
        """Return the message of a notification."""
        if due.alert is not None:
            return self._alert(due, due.alert)
        if due.digest is not None:
            return digest_message(due.id, due.digest, self.rules)
        if due.kind is NotificationKind.SILENCE and due.content is not None:
            return alarm_message(due.id, due.content)
        if due.kind is NotificationKind.TEST:
            return _test(due)
        raise ValueError(f"no message can be composed for a notification of kind {due.kind}")

    def _alert(self, due: DueNotification, alert: dict[str, Any]) -> Message:
        rule = self.rules.get(alert["rule_id"])
        link = event_link(self.orgs.get(alert["org"], ""), due.event) if due.event else None
        decided = due.kind in _DECIDED
        lines = [
            *(_decision_lines(due.content) if decided else ()),
            *_alert_lines(due, alert, rule),
            *([Line("In Okta", "open the event", link=link)] if link is not None else []),
            *_next_steps(alert, rule, due.kind),
        ]
        body = {
            "type": f"alert.{due.kind}",
            "alert": alert
            | {
                "url": link,
                "rule_name": rule.name if rule else None,
                "mitre": list(rule.mitre) if rule else [],
                "new": alert_text.new_for_person(alert, due.novelty) if due.novelty else None,
                "others": due.novelty.others if due.novelty else None,
            },
            "runbook": rule.short_runbook() if rule else "",
        }
        return Message(
            id=due.id,
            type=f"alert.{due.kind}",
            severity=Severity[alert["severity"]],
            heading=_heading(due, alert, rule),
            lines=tuple(lines),
            body=body | ({"action": due.content} if decided else {}),
            incident=due.incident,
        )


def _heading(due: DueNotification, alert: dict[str, Any], rule: RuleText | None) -> str:
    sentence = f"{alert_text.sentence(alert, rule, due.failures_before)} ({harmless_name(alert['org'], 100)})"
    severity = f"[{alert['severity']}]"
    by = _decided_by(due.content)
    match due.kind:
        case NotificationKind.ACKNOWLEDGED:
            return f"{severity} Acknowledged by {by}: {sentence}"
        case NotificationKind.CLOSED:
            return f"{severity} Closed by {by}: {sentence}"
        case NotificationKind.RAISED if not alert_text.raised_by_success(alert):
            return f"{severity} {sentence}, raised to {alert['severity']}"
        case _:
            return f"{severity} {sentence}"


def _alert_lines(due: DueNotification, alert: dict[str, Any], rule: RuleText | None) -> Iterator[Line]:
    if rule is None or not rule.about_sign_in:
        yield Line("What", harmless(alert["title"], 300), typed=True)
    for label, text in (
        ("Who", alert_text.person(alert)),
        ("Severity", alert_text.severity(alert)),
        ("Outcome", alert_text.outcome(alert, due.failures_before)),
        ("From", alert_text.place(alert)),
        ("Anonymizer", alert_text.anonymizers(alert)),
        ("Client", alert_text.client(alert)),
        ("Okta says", alert_text.assessment(alert)),
    ):
        if text:
            yield Line(label, text, typed=True)
    if due.novelty is not None and (new := alert_text.new_for_person(alert, due.novelty)):
        unknown = "" if due.novelty.known_since else " (no earlier sign-in is known)"
        yield Line("New for this person", f"{', '.join(new)}{unknown}")
    if due.novelty is not None and due.novelty.others:
        yield Line(
            "Also at this address", alert_text.count(due.novelty.others, "other person", "other people")
        )
    yield Line("When", alert_text.when(alert))
    rule_id = harmless_name(alert["rule_id"])
    yield Line("Rule", f"{rule.name} ({rule_id})" if rule else rule_id, typed=True)
    yield Line("Org", harmless_name(alert["org"]), typed=True)


def _next_steps(alert: dict[str, Any], rule: RuleText | None, kind: NotificationKind) -> Iterator[Line]:
    yield Line("Look", f"oktawatch alerts show {alert['id']}", typed=True)
    if kind is NotificationKind.CLOSED:
        yield Line("Reopen", f"oktawatch alerts reopen {alert['id']}", typed=True)
    elif kind is not NotificationKind.ACKNOWLEDGED:
        yield Line("Acknowledge", f"oktawatch alerts ack {alert['id']}", typed=True)
        if rule is not None:  # last, because services cut long messages
            yield Line("What to do", rule.short_runbook())


def _decided_by(action: Mapping[str, Any] | None) -> str:
    return harmless(action["by"], 60) if action else "somebody"


def _decision_lines(action: Mapping[str, Any] | None) -> Iterator[Line]:
    if action is None:
        return
    yield Line("By", _decided_by(action), typed=True)
    if action["disposition"]:
        yield Line("As", harmless(action["disposition"]), typed=True)
    if action["note"]:
        yield Line("Note", harmless(action["note"], 600), typed=True)


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
