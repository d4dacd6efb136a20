"""What Okta thinks of a sign-in's risk and of the user's behaviour, wherever an event states it.

Okta states it in up to three places, of which each can be absent or broken: ``logOnlySecurityData``, a
text of JSON in debugData; ``securityContext``; and texts of debugData that look like a printed map,
``{reasons=Anomalous Location, level=HIGH}``. Collectors on the way turn texts into objects and lists, and
the reverse, so each place is read in every shape. The first place that states a level or a result is
believed; an empty or unreadable one hides none of the others.
"""

from typing import Any

import msgspec
from msgspec import Struct

from oktawatch.model.sanitize import clean_text, shorten
from oktawatch.model.wire import RiskContext, RiskData

POSITIVE = "POSITIVE"
"""How Okta writes that a behaviour was observed."""

_LEVELS = frozenset(("NONE", "LOW", "MEDIUM", "HIGH"))
"""Levels that are recognized where a text holds nothing else."""

_MOST_BEHAVIOURS = 100
"""Behaviours of one event that are kept. An Okta org has a dozen."""


class _LogOnly(Struct, gc=False):
    risk: Any = None
    behaviors: Any = None


_decoder = msgspec.json.Decoder(_LogOnly)
_decode_any = msgspec.json.Decoder().decode
_NOTHING = _LogOnly()


class Assessment(Struct, frozen=True):
    """What an event states about risk and behaviour."""

    risk: str | None
    """The level in capitals: ``LOW``, ``MEDIUM``, ``HIGH``."""
    behaviours: tuple[str, ...]
    """The behaviours that were observed, in order: ``New Country``, ``New Device``, …"""


NOTHING_SAID = Assessment(None, ())
"""The assessment of an event that has none of these."""

_NO_CONTEXT = RiskContext()


def assess(security: Any, data: RiskData) -> Assessment:
    """Read the risk level and the observed behaviours from an event's securityContext and debugData."""
    context = security if isinstance(security, RiskContext) else _NO_CONTEXT
    log_only = _log_only(data.logOnlySecurityData)
    level = _level(log_only.risk) or _level(context.risk) or _level(data.risk)
    results = _results(log_only.behaviors) or _results(context.userBehaviors)
    # Of the last place a text without a positive result need not be parsed.
    if not results and (not isinstance(data.behaviors, str) or POSITIVE in data.behaviors):
        results = _results(data.behaviors)
    observed = [shorten(clean_text(name)) for name, result in results.items() if result == POSITIVE]
    return Assessment(level, tuple(sorted(observed[:_MOST_BEHAVIOURS])) if observed else ())


def _log_only(value: Any) -> _LogOnly:
    if isinstance(value, dict):
        return _LogOnly(value.get("risk"), value.get("behaviors"))
    if not isinstance(value, str):
        return _NOTHING
    try:
        return _decoder.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _NOTHING


def _level(risk: Any) -> str | None:
    """Return a level in capitals from an object, a text, or the first element of a list that has one."""
    if isinstance(risk, str):
        inner = _json_of(risk)
        risk = inner if inner is not None else _printed_level(risk)
    if isinstance(risk, list):
        return next((level for one in risk if not isinstance(one, list) and (level := _level(one))), None)
    level = risk.get("level") if isinstance(risk, dict) else None
    return shorten(clean_text(level)).upper() if isinstance(level, str) and level else None


def _printed_level(text: str) -> dict[str, str]:
    bare = text.strip("{} ").upper()
    return {"level": bare} if bare in _LEVELS else _printed(text)


def _results(behaviours: Any) -> dict[str, str]:
    """Return the result of each behaviour in an object, a list or a text; empty where there is none."""
    if isinstance(behaviours, str):
        inner = _json_of(behaviours)
        return _printed(behaviours) if inner is None else _results(inner)
    if isinstance(behaviours, dict):
        named = behaviours.get("name")
        if "result" in behaviours and isinstance(named, str):
            behaviours = {named: behaviours["result"]}
        return {name: result for name, result in behaviours.items() if isinstance(result, str) and result}
    results: dict[str, str] = {}
    if isinstance(behaviours, list):
        for one in behaviours:
            if not isinstance(one, list):
                results |= _results(one)
    return results


def _json_of(text: str) -> dict[str, Any] | list[Any] | None:
    """Return the object or list that a text holds as JSON; None for any other text."""
    if '"' not in text or not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value = _decode_any(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _printed(text: str) -> dict[str, str]:
    """Read a printed map, with or without braces. Names can hold ``:`` and ``=``; values can't hold ``=``."""
    head, brace, rest = text.partition("{")
    inner = rest if brace and "=" not in head else text
    parts = (part.rpartition("=") for part in inner.removesuffix("}").split(", "))
    return {name: value for name, _, value in parts if name and value}
