"""Compose a digest: the number of alerts, who got in and who only tried, origins, runbook and commands."""

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from oktawatch.model.notification import Digest, DigestReason
from oktawatch.model.severity import RISES_FROM, Severity
from oktawatch.model.timestamps import to_text
from oktawatch.notify.alert_text import count
from oktawatch.notify.message import Line, Message
from oktawatch.notify.rule_text import RuleText
from oktawatch.notify.text import harmless, harmless_name

_REASONS = {
    DigestReason.LATE: "The events were read more than an hour after they happened, as after a first start, a long stop or a backfill.",
    DigestReason.ABOVE: "Single messages would exceed this notifier's max_per_minute.",
    DigestReason.CAMPAIGN: "One source affected many people within ten minutes. Its later failures are collected into another digest.",
}
_MAX_NAMED = 3  # people in a heading


def digest_message(notification_id: str, digest: Digest, rules: Mapping[str, RuleText]) -> Message:
    """Return the message of a digest. ``rules`` contains the rules' texts by id."""
    severity = _severity(digest)
    level = f"[{severity.name}] " if severity is not None else ""
    runbook = _runbook(digest, rules)
    return Message(
        id=notification_id,
        type="digest",
        severity=severity,
        heading=f"{level}{_heading(digest)}{_orgs(digest)}",
        lines=tuple(_lines(digest, runbook)),
        body={
            "type": "digest",
            "digest": _json_object(digest) | {"severity": severity.name if severity is not None else None},
            "runbook": runbook,
        },
    )


def _severity(digest: Digest) -> Severity | None:
    """Return the highest severity of the alerts, raised by one level if there was a success and no alert has risen.

    The severity of a risen alert includes this level already. INFO and LOW are not raised, as in a single alert.
    """
    worst = max((Severity[name] for name in digest.severities), default=None)
    if worst is not None and worst >= RISES_FROM and digest.got_in and not digest.risen:
        return worst.raised()
    return worst


def _heading(digest: Digest) -> str:
    match digest.reason:
        case DigestReason.LATE:
            return f"{count(digest.alerts, 'alert')} about old events{_got_in(digest, ': ')}"
        case DigestReason.CAMPAIGN:
            tried = f"{digest.people:,} tried" if digest.got_in < digest.people else ""
            return f"Campaign from {_source(digest)}: {tried}{_got_in(digest, ', ' if tried else '')}"
        case DigestReason.ABOVE:
            return f"{count(digest.alerts, 'more alert')}{_got_in(digest, ': ')}"


def _got_in(digest: Digest, prefix: str) -> str:
    if not digest.got_in:
        return ""
    names = [harmless(name, 60) for name in list(digest.got_in_names)[:_MAX_NAMED]]
    return f"{prefix}{digest.got_in:,} got in: {_list(names, digest.got_in)}"


def _orgs(digest: Digest) -> str:
    if len(digest.orgs) == 1:
        return f" ({harmless_name(next(iter(digest.orgs)), 100)})"
    return f" ({len(digest.orgs)} orgs)" if digest.orgs else ""


def _lines(digest: Digest, runbook: str) -> Iterator[Line]:
    if digest.got_in:
        got_in = [f"{harmless(name, 100)} (alert {alert})" for name, alert in digest.got_in_names.items()]
        yield Line("Got in", _list(got_in, digest.got_in), typed=True)
    if digest.tried:
        yield Line(
            "Tried", _list(_counted(digest.tried, harmless), digest.people - digest.got_in), typed=True
        )
    ids = _list([str(alert) for alert in digest.alert_ids], digest.alerts)
    about = f"{digest.alerts:,} about {count(digest.people, 'person', 'people')}"
    yield Line("Alerts", f"{about}: {ids}" if ids else about)
    for label, names, escape in (
        ("From", digest.addresses, harmless),
        ("Countries", digest.countries, harmless),
        ("Severities", _worst_first(digest.severities), harmless_name),
        ("Rules", digest.rules, harmless_name),
        ("Orgs", digest.orgs, harmless_name),
    ):
        if names:
            yield Line(label, ", ".join(_counted(names, escape)), typed=True)
    if digest.first_event_at is not None and digest.last_event_at is not None:
        moments = dict.fromkeys(map(_moment, (digest.first_event_at, digest.last_event_at)))
        yield Line("When", f"{' to '.join(moments)} UTC")
    yield Line("Why together", _REASONS[digest.reason])
    if digest.alert_ids and len(digest.alert_ids) == digest.alerts:
        yield Line("Acknowledge", f"oktawatch alerts ack {' '.join(map(str, digest.alert_ids))}", typed=True)
    if digest.first_event_at is not None:
        yield Line("Look", _command(digest, digest.first_event_at), typed=True)
    if runbook:  # last, because services cut long messages
        yield Line("What to do", runbook)


def _counted(names: Mapping[str, int], escape: Callable[[object, int], str]) -> list[str]:
    """Return names with their numbers of alerts. Omit the number 1, and any number if there is only one name."""
    return [
        f"{escape(name, 100)} ({number:,})" if number > 1 and len(names) > 1 else escape(name, 100)
        for name, number in names.items()
    ]


def _worst_first(severities: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(severities.items(), key=lambda item: Severity[item[0]], reverse=True))


def _list(texts: Sequence[str], total: int) -> str:
    """Join texts, and append how many of the ``total`` are missing: ``a, b, +9 more``."""
    more = total - len(texts)
    return ", ".join([*texts, *([f"+{more:,} more"] if texts and more > 0 else [])])


def _runbook(digest: Digest, rules: Mapping[str, RuleText]) -> str:
    """Return the runbook of the most frequent rule that is still configured."""
    runbooks = (rules[rule_id].short_runbook() for rule_id in digest.rules if rule_id in rules)
    return next(runbooks, "")


def _source(digest: Digest) -> str:
    source = harmless(digest.source or "", 60)
    return f"AS{source}" if source.isdigit() else source


def _command(digest: Digest, since: datetime) -> str:
    command = f"oktawatch alerts list --since {since:%Y-%m-%dT%H:%M:%SZ}"
    if _is_address(digest.source):
        return f"{command} --ip {digest.source}"
    is_network = digest.source is not None and digest.source.isascii() and digest.source.isdigit()
    return f"{command} --as {digest.source}" if is_network else command


def _is_address(text: str | None) -> bool:
    """Return whether a text is an IP address, which is safe in a command to paste."""
    try:
        return text is not None and str(ipaddress.ip_address(text)) == text
    except ValueError:
        return False


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _json_object(digest: Digest) -> dict[str, object]:
    """Return the digest as a JSON object. Times have the same format as in the tables."""
    fields: dict[str, object] = msgspec.to_builtins(digest)
    for name in ("first_event_at", "last_event_at"):
        moment = getattr(digest, name)
        fields[name] = to_text(moment) if moment is not None else None
    return fields
