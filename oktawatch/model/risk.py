"""Extract Okta's assessment of risk and user behaviour from an event.

Okta writes it to up to three places: ``logOnlySecurityData``, a string with JSON in debugData; ``securityContext``; and
strings in debugData that look like a printed map, ``{reasons=Anomalous Location, level=HIGH}``. Each place can be
absent or malformed. Log collectors convert strings into objects and lists, and the reverse, so each place is parsed in
every format. Level and behaviours each come from the first place that has any.
"""

from typing import Any

import msgspec
from msgspec import Struct

from oktawatch.model.sanitize import clean_text, shorten
from oktawatch.model.wire import RiskContext, RiskData

POSITIVE = "POSITIVE"
"""The result of an observed behaviour."""
NEW_DEVICE = "New Device"
"""Okta's name for a sign-in from a device that is new for the person."""

_LEVELS = frozenset(("NONE", "LOW", "MEDIUM", "HIGH"))
"""Levels that are recognized if a string contains nothing else."""

_MOST_BEHAVIOURS = 100
"""The maximum number of behaviours per event. An Okta org has about a dozen."""


class _LogOnly(Struct, gc=False):
    risk: Any = None
    behaviors: Any = None


_decoder = msgspec.json.Decoder(_LogOnly)
_decode_any = msgspec.json.Decoder().decode
_UNKNOWN = _LogOnly()


class Assessment(Struct, frozen=True):
    """The risk level and the observed behaviours of an event."""

    risk: str | None
    """The level in capitals, such as ``HIGH``."""
    behaviours: tuple[str, ...]
    """The observed behaviours, sorted: ``New Country``, ``New Device``, …"""


NO_ASSESSMENT = Assessment(None, ())
"""The assessment of an event without risk level and behaviours."""

_NO_CONTEXT = RiskContext()


def assess(security: Any, data: RiskData) -> Assessment:
    """Return the risk level and the observed behaviours from an event's securityContext and debugData."""
    context = security if isinstance(security, RiskContext) else _NO_CONTEXT
    log_only = _log_only(data.logOnlySecurityData)
    level = _level(log_only.risk) or _level(context.risk) or _level(data.risk)
    results = _results(log_only.behaviors) or _results(context.userBehaviors)
    # The last place needn't be parsed if it is a string without a positive result.
    if not results and (not isinstance(data.behaviors, str) or POSITIVE in data.behaviors):
        results = _results(data.behaviors)
    observed = [shorten(clean_text(name)) for name, result in results.items() if result == POSITIVE]
    return Assessment(level, tuple(sorted(observed[:_MOST_BEHAVIOURS])) if observed else ())


def _log_only(value: Any) -> _LogOnly:
    if isinstance(value, dict):
        return _LogOnly(value.get("risk"), value.get("behaviors"))
    if not isinstance(value, str):
        return _UNKNOWN
    try:
        return _decoder.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _UNKNOWN


def _level(risk: Any) -> str | None:
    """Return a level in capitals from an object, a string, or the first list element that has a level."""
    if isinstance(risk, str):
        inner = _json_of(risk)
        risk = inner if inner is not None else _printed_level(risk)
    if isinstance(risk, list):
        elements = (element for element in risk if not isinstance(element, list))
        return next((level for element in elements if (level := _level(element))), None)
    level = risk.get("level") if isinstance(risk, dict) else None
    return shorten(clean_text(level)).upper() if isinstance(level, str) and level else None


def _printed_level(text: str) -> dict[str, str]:
    bare = text.strip("{} ").upper()
    return {"level": bare} if bare in _LEVELS else _printed(text)


def _results(behaviours: Any) -> dict[str, str]:
    """Return the result of each behaviour in an object, a list or a string."""
    if isinstance(behaviours, str):
        inner = _json_of(behaviours)
        return _printed(behaviours) if inner is None else _results(inner)
    if isinstance(behaviours, dict):
        key = behaviours.get("name")
        if "result" in behaviours and isinstance(key, str):
            behaviours = {key: behaviours["result"]}
        return {name: result for name, result in behaviours.items() if isinstance(result, str) and result}
    results: dict[str, str] = {}
    if isinstance(behaviours, list):
        for element in behaviours:
            if not isinstance(element, list):
                results |= _results(element)
    return results


def _json_of(text: str) -> dict[str, Any] | list[Any] | None:
    """Parse a string with a JSON object or list. Returns None for any other string."""
    if '"' not in text or not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value = _decode_any(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _printed(text: str) -> dict[str, str]:
    """Parse a printed map, with or without braces. Names can contain ``:`` and ``=``; values can't contain ``=``."""
    head, brace, rest = text.partition("{")
    inner = rest if brace and "=" not in head else text
    parts = (part.rpartition("=") for part in inner.removesuffix("}").split(", "))
    return {name: value for name, _, value in parts if name and value}
