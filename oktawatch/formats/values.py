"""Convert values of alerts for other systems, whose fields accept less than Okta's free text."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

from msgspec import Struct

from oktawatch.model.json_values import inside, string
from oktawatch.model.timestamps import from_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EMAIL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9-]+\.[A-Za-z0-9.-]+", re.ASCII).fullmatch
_ATTACK = re.compile(r"(?:(TA\d{4})(?::|$))?(?:(T\d{4})(\.\d{3})?)?", re.ASCII).fullmatch


class Attack(Struct, frozen=True):
    """A reference to MITRE ATT&CK. Each id can be None."""

    tactic: str | None
    technique: str | None
    subtechnique: str | None


def json_line(document: Mapping[str, Any]) -> str:
    """Return a document as one line of printable ASCII, without line separators and control characters."""
    # JSON does not escape DEL.
    return json.dumps(document, separators=(",", ":")).replace("\x7f", "\\u007f")


def compact(value: Any) -> Any:
    """Return a value without None, empty texts and empty containers at any depth."""
    if isinstance(value, dict):
        pairs = ((key, compact(item)) for key, item in value.items())
        return {key: item for key, item in pairs if not _is_empty(item)}
    if isinstance(value, list):
        return [item for item in map(compact, value) if not _is_empty(item)]
    return value


def milliseconds(text: str | None) -> int | None:
    """Convert a canonical timestamp to milliseconds since 1970."""
    return None if text is None else (from_text(text) - _EPOCH) // timedelta(milliseconds=1)


def address(text: str | None) -> str | None:
    """Return the IP address in a text. Return None for other text and for an address with an interface (``fe80::1%eth0``)."""
    try:
        return None if text is None or "%" in text else str(ip_address(text.strip()))
    except ValueError:
        return None


def email(text: str | None) -> str | None:
    """Return a text if it is an e-mail address, else None."""
    return text if text is not None and _EMAIL(text) else None


def attacks(mitre: Iterable[str]) -> list[Attack]:
    """Parse ATT&CK ids such as ``TA0001:T1078.004``. Skip invalid ids, because authors of rules can write any text."""
    found = (_ATTACK(text) for text in mitre if text)
    return [
        Attack(match[1], match[2], f"{match[2]}{match[3]}" if match[3] else None) for match in found if match
    ]


def user_agent(alert: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the user agent of the event that opened the alert, or of the earliest event if the context has none."""
    raw = string(inside(alert["context"], "client", "userAgent", "rawUserAgent"))
    return raw or next((event["user_agent"] for event in events), None)


def event_type(alert: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> str | None:
    """Return Okta's type of the event that opened the alert, or of the earliest event if the context has none."""
    return string(inside(alert["context"], "event_type")) or next(
        (event["event_type"] for event in events), None
    )


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | dict | list) and not value)
