"""What is hidden from the moment an event is decoded.

Who types a *password* into the user name's field leaves it in ``actor.alternateId`` of a failed
sign-in; Okta knows no such user, so ``actor.id`` is ``"unknown"``. Where the id says nothing and the
alternateId does not look like an e-mail address, it is replaced by ``redacted``; the alternateIds of
that event's targets likewise. The same text is redacted wherever else it occurs in the event, within longer
texts too, in the case and the encodings in which Okta may repeat it. A text shorter than ``SHORTEST`` is
redacted only where it stands by itself: as a part of other words it gives nothing away, and replacing every
"a" would leave nothing to read.

Values that detections decide by are left alone as long as they look like Okta's own, so that nobody can
blank an event's type or result by typing it as a user name.
"""

import json
import re
from html import escape
from typing import Any
from urllib.parse import quote, quote_plus

REDACTED = "redacted"

NOTHING = frozenset(("", "-", "null", "unknown"))
"""Texts that mean "nothing" in Okta's data although they are not null."""

SHORTEST = 4
"""Characters from which on a typed text is redacted within words, too."""

_KEY = frozenset(("uuid", "published", "eventType"))
_USER_TYPES = ("User", "AppUser")  # no set: a type may be any JSON value
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
"""Names of the values that detections decide by, and how they look when Okta made them."""

_EMAIL = re.compile(r"[\w.%+-]+@([\w-]+\.)+[A-Za-z]{2,63}").fullmatch


def means_nothing(value: Any) -> bool:
    """Tell whether a value stands for nothing: absent, no text, or one of Okta's placeholders."""
    return not isinstance(value, str) or value in NOTHING


def must_hide(alternate_id: Any) -> bool:
    """Tell whether the alternateId of an event without an actor's id may be a mistyped password."""
    if alternate_id is None:
        return False
    return not (isinstance(alternate_id, str) and _EMAIL(alternate_id))


def redact_body(body: dict[str, Any]) -> dict[str, Any]:
    """Return a LogEvent's JSON object with what must be hidden replaced, or the same object if there is nothing to hide."""
    actor = body.get("actor")
    if not isinstance(actor, dict) or not means_nothing(actor.get("id")):
        return body
    forms = _forms([actor, *_users(body.get("target"))])
    return {key: value if key in _KEY else _redacted(key, value, forms) for key, value in body.items()}


def _users(targets: Any) -> list[dict[str, Any]]:
    listed = targets if isinstance(targets, list) else []
    return [target for target in listed if isinstance(target, dict) and target.get("type") in _USER_TYPES]


def _forms(people: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return what was typed as user names, in the forms in which texts repeat it, the longest first."""
    typed = [person.get("alternateId") for person in people]
    plain = {text.strip() for text in typed if isinstance(text, str) and must_hide(text)} - NOTHING
    forms = plain | {text.lower() for text in plain}
    for encode in (quote, quote_plus, escape, _json_escaped):
        forms |= {encode(text) for text in plain}
    return tuple(sorted(forms, key=len, reverse=True))


def _json_escaped(text: str) -> str:
    return json.dumps(text)[1:-1]


def _redacted(name: str, value: Any, forms: tuple[str, ...]) -> Any:
    """Redact a value that stands at ``name``; the elements of a list stand at the list's name."""
    if name == "alternateId" and must_hide(value):
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
