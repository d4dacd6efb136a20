"""What Okta thinks of a sign-in's risk and of the user's behaviour, wherever an event says it.

Okta says it in up to three places, of which each can be absent or broken: ``logOnlySecurityData``, a
text of JSON in debugData; ``securityContext``; and texts of debugData that look like a printed map,
``{reasons=Anomalous Location, level=HIGH}``. The first place that says anything is believed.
"""

from typing import Any

import msgspec
from msgspec import Struct

from oktawatch.model.wire import RiskContext, RiskData

POSITIVE = "POSITIVE"
"""How Okta writes that a behaviour was observed."""


class _LogOnly(Struct, gc=False):
    risk: Any = None
    behaviors: Any = None


_decoder = msgspec.json.Decoder(_LogOnly)
_NOTHING = _LogOnly()


class Assessment(Struct, frozen=True):
    """What an event says of risk and behaviour."""

    risk: str | None
    """The level in capitals: ``LOW``, ``MEDIUM``, ``HIGH``."""
    behaviours: tuple[str, ...]
    """The behaviours that were observed, in order: ``New Country``, ``New Device``, …"""


NOTHING_SAID = Assessment(None, ())
"""What is known of an event that has none of these."""

_NO_CONTEXT = RiskContext()


def assess(security: Any, data: RiskData) -> Assessment:
    """Read the risk level and the observed behaviours from an event's securityContext and debugData."""
    context = security if isinstance(security, RiskContext) else _NO_CONTEXT
    listed = context.userBehaviors
    log_only = _log_only(data.logOnlySecurityData)
    level = _level(log_only.risk) or _level(context.risk) or _printed_level(data.risk)
    if isinstance(log_only.behaviors, dict):
        results = log_only.behaviors
    elif isinstance(listed, list):
        named = (one for one in listed if isinstance(one, dict) and isinstance(one.get("name"), str))
        results = {one["name"]: one.get("result") for one in named}
    else:
        results = _printed(data.behaviors) if POSITIVE in _text(data.behaviors) else {}
    observed = (
        tuple(sorted(name for name, result in results.items() if result == POSITIVE)) if results else ()
    )
    return Assessment(level.upper() if level else None, observed)


def _log_only(text: Any) -> _LogOnly:
    if not isinstance(text, str):
        return _NOTHING
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _NOTHING


def _level(risk: Any) -> str | None:
    level = risk.get("level") if isinstance(risk, dict) else None
    return level if isinstance(level, str) and level else None


def _printed_level(text: Any) -> str | None:
    return _printed(text).get("level") or None


def _printed(text: Any) -> dict[str, str]:
    """Read a printed map. Names can hold ``:`` and ``=``; values can't hold ``=``."""
    printed = _text(text)
    if not printed.endswith("}"):
        return {}
    parts = (part.rpartition("=") for part in printed[printed.find("{") + 1 : -1].split(", "))
    return {name: value for name, _, value in parts if name}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
