"""What a digest says: how many, how bad, of which rules, who and where from, and how to look."""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

import msgspec

from oktawatch.model.notification import Digest, DigestReason
from oktawatch.model.severity import Severity
from oktawatch.model.timestamps import to_text
from oktawatch.notify.message import Line, Message
from oktawatch.notify.text import given, harmless

_WHY = {
    DigestReason.LATE: "It happened over an hour before it was read: after a first start, a longer stop or a backfill.",
    DigestReason.ABOVE: "There are more than this notifier takes in a minute (max_per_minute).",
    DigestReason.CAMPAIGN: "One source troubles many people within ten minutes. What goes on of it is collected for as long.",
}


def digest_message(notification_id: str, digest: Digest) -> Message:
    """Say what a digest stands for."""
    worst = max((Severity[name] for name in digest.severities), default=None)
    severity = f"[{worst.name}] " if worst is not None else ""
    return Message(
        id=notification_id,
        type="digest",
        severity=worst,
        heading=severity + _heading(digest),
        lines=tuple(_lines(digest)),
        body={"type": "digest", "digest": _for_programs(digest)},
    )


def _heading(digest: Digest) -> str:
    alerts = _count(digest.alerts, "alert")
    match digest.reason:
        case DigestReason.LATE:
            return f"{alerts} about the past"
        case DigestReason.CAMPAIGN:
            return f"Campaign: {_count(digest.people, 'person', 'people')} troubled from {_source(digest)}"
        case DigestReason.ABOVE:
            return f"{alerts} more"


def _lines(digest: Digest) -> Iterator[Line]:
    yield Line("Alerts", f"{digest.alerts:,} about {_count(digest.people, 'person', 'people')}")
    yield Line("Why together", _WHY[digest.reason])
    for label, names in (("Rules", digest.rules), ("Orgs", digest.orgs), ("Severities", digest.severities)):
        if names:
            yield Line(label, _names(names, given), typed=True)
    for label, names in (
        ("Who", digest.who),
        ("From", digest.addresses),
        ("Countries", digest.countries),
    ):
        if names:
            yield Line(label, _names(names, harmless), typed=True)
    if digest.first_event_at is not None and digest.last_event_at is not None:
        yield Line("When", f"{_moment(digest.first_event_at)} to {_moment(digest.last_event_at)} UTC")
        yield Line("Look", _command(digest, digest.first_event_at), typed=True)


def _names(names: Mapping[str, int], fit: Callable[[object, int], str]) -> str:
    return ", ".join(f"{fit(name, 100)} ({count:,})" for name, count in names.items())


def _source(digest: Digest) -> str:
    source = harmless(digest.source or "", 60)
    return f"AS{source}" if source.isdigit() else source


def _command(digest: Digest, since: datetime) -> str:
    command = f"oktawatch alerts list --since {since:%Y-%m-%dT%H:%M:%SZ}"
    return f"{command} --ip {digest.source}" if _is_address(digest.source) else command


def _is_address(text: str | None) -> bool:
    """Tell whether a text may stand in a command that somebody will paste."""
    try:
        return text is not None and str(ipaddress.ip_address(text)) == text
    except ValueError:
        return False


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _for_programs(digest: Digest) -> dict[str, object]:
    """Give it as a JSON object, points in time written as in the tables."""
    fields: dict[str, object] = msgspec.to_builtins(digest)
    for name in ("first_event_at", "last_event_at"):
        moment = getattr(digest, name)
        fields[name] = to_text(moment) if moment is not None else None
    return fields
