"""What is hidden from the moment an event is decoded.

Who types a *password* into the user name's field leaves it in ``actor.alternateId`` of a failed
sign-in; Okta knows no such user, so ``actor.id`` is ``"unknown"``. Where the id says nothing and the
alternateId does not look like an e-mail address, it is replaced by ``redacted``; the alternateIds of
that event's targets likewise. Where the same text stands in a display name or in ``debugContext`` it
goes too; the parts that detections decide by are left alone, so that nobody can blank an event's type
by typing it as a user name.
"""

import re
from typing import Any

REDACTED = "redacted"

NOTHING = frozenset(("", "-", "null", "unknown"))
"""Texts that mean "nothing" in Okta's data although they are not null."""

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
    """Give a LogEvent's JSON object with what must be hidden replaced; others come back as they are."""
    actor = body.get("actor")
    if not isinstance(actor, dict) or not means_nothing(actor.get("id")):
        return body
    typed = actor.get("alternateId")
    secret = typed if must_hide(typed) and not means_nothing(typed) else None
    return {
        key: _redacted(value, secret) if key in {"actor", "target", "debugContext"} else value
        for key, value in body.items()
    }


def _redacted(value: Any, secret: str | None) -> Any:
    if isinstance(value, dict):
        return {
            key: REDACTED if key == "alternateId" and must_hide(item) else _redacted(item, secret)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_redacted(item, secret) for item in value]
    return REDACTED if secret is not None and value == secret else value
