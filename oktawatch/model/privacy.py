"""Redaction of events while they are decoded.

A user who types a *password* into the user name field leaves it in ``actor.alternateId`` of a failed sign-in. Okta
doesn't find a user with that name, so ``actor.id`` is ``"unknown"``. If the actor's id is a placeholder, every
alternateId in the event that doesn't look like an e-mail address is replaced by ``redacted``.

The rest of the event can repeat these texts, within longer texts, in lower case or encoded. So the texts of the actor and of
targets that are users are redacted there, too. A text shorter than ``SHORTEST`` is redacted only as a whole word: inside
other words it reveals nothing, and replacing every "a" would make the event unreadable.

Values that rules read are not redacted if they have the format of Okta's values. Otherwise an attacker could
erase an event's type or result by typing it as a user name.
"""

import json
import re
from html import escape
from typing import Any
from urllib.parse import quote, quote_plus

REDACTED = "redacted"

PLACEHOLDERS = frozenset(("", "-", "null", "unknown"))
"""Texts that Okta writes instead of null."""

SHORTEST = 4
"""The minimum length in characters of a text that is redacted inside words."""

_NEVER_REDACTED = frozenset(("uuid", "published", "eventType"))
_USER_TYPES = ("User", "AppUser")  # a tuple, because a type can be an unhashable JSON value
_is_constant = re.compile(r"[A-Z_]+|[a-z]+([_.][a-z]+)+").fullmatch
_is_address = re.compile(r"[0-9A-Fa-f:.]+").fullmatch
_is_token = re.compile(r"\S+").fullmatch
_is_map = re.compile(r".*[={].*", re.DOTALL).fullmatch
_DECISIVE = {
    "result": _is_constant,
    "reason": _is_constant,
    "ipAddress": _is_address,
    "ip": _is_address,
    "externalSessionId": _is_token,
    "rootSessionId": _is_token,
    "dtHash": _is_token,
} | dict.fromkeys(
    ("risk", "behaviors", "userBehaviors", "logOnlySecurityData", "tunnels", "ipServiceCategories"), _is_map
)
"""The keys whose values rules read, and the format of Okta's values."""

_EMAIL = re.compile(r"[\w.%+-]+@([\w-]+\.)+[A-Za-z]{2,63}").fullmatch


def is_placeholder(value: Any) -> bool:
    """Return whether a value is absent, not a string, or one of Okta's placeholders."""
    return not isinstance(value, str) or value in PLACEHOLDERS


def may_be_password(alternate_id: Any) -> bool:
    """Return whether the alternateId of an event without an actor's id may be a mistyped password."""
    if alternate_id is None:
        return False
    return not (isinstance(alternate_id, str) and _EMAIL(alternate_id))


def redact_body(body: dict[str, Any]) -> dict[str, Any]:
    """Return a redacted copy of a LogEvent's JSON object, or the same object if nothing must be redacted."""
    actor = body.get("actor")
    if not isinstance(actor, dict) or not is_placeholder(actor.get("id")):
        return body
    forms = _forms([actor, *_users(body.get("target"))])
    return {
        key: value if key in _NEVER_REDACTED else _redacted(key, value, forms) for key, value in body.items()
    }


def _users(targets: Any) -> list[dict[str, Any]]:
    if not isinstance(targets, list):
        return []
    return [target for target in targets if isinstance(target, dict) and target.get("type") in _USER_TYPES]


def _forms(people: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return the typed user names in every encoding in which the event can repeat them, longest first."""
    typed = [person.get("alternateId") for person in people]
    plain = {text.strip() for text in typed if isinstance(text, str) and may_be_password(text)} - PLACEHOLDERS
    forms = plain | {text.lower() for text in plain}
    for encode in (quote, quote_plus, escape, _json_escaped):
        forms |= {encode(text) for text in plain}
    return tuple(sorted(forms, key=len, reverse=True))


def _json_escaped(text: str) -> str:
    return json.dumps(text)[1:-1]


def _redacted(name: str, value: Any, forms: tuple[str, ...]) -> Any:
    """Redact the value of the key ``name``. The elements of a list have the name of the list."""
    if name == "alternateId" and may_be_password(value):
        return REDACTED
    decisive = _DECISIVE.get(name)
    if isinstance(value, str):
        return value if decisive and decisive(value) else _without(forms, value)
    if decisive is _is_map:
        return value
    if isinstance(value, dict):
        return {key: _redacted(key, item, forms) for key, item in value.items()}
    if isinstance(value, list):
        return [_redacted(name, item, forms) for item in value]
    return value


def _without(forms: tuple[str, ...], text: str) -> str:
    for form in forms:
        if form not in text:
            continue
        if len(form) >= SHORTEST:
            text = text.replace(form, REDACTED)
        else:
            text = re.sub(rf"(?<![^\W_]){re.escape(form)}(?![^\W_])", REDACTED, text)
    return text
