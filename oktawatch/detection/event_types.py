"""Event types as rules name them: whole, or by their beginning with a trailing ``*``."""

import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

LONGEST_FILTER = 3_500
"""Characters. Okta: a URL is to stay under 4 KB; the rest of it and its escapes need room."""

is_pattern = re.compile(r"[A-Za-z0-9_.-]*\*?").fullmatch
"""Whether a text can stand in a filter as an event type."""


class EventTypes(tuple[str, ...]):  # noqa: SLOT001 -- its test is made once and kept
    """Event types that the configuration can change; whatever they stand for is in them."""

    def __contains__(self, kind: object) -> bool:
        return self._test(kind)

    @cached_property
    def _test(self) -> Callable[[Any], bool]:
        return type_test(self)


def type_test(patterns: Iterable[str], *, any_case: bool = False) -> Callable[[Any], bool]:
    """Give a test for event types; what is no text is none."""
    if any_case:
        folded = type_test([pattern.lower() for pattern in patterns])
        return lambda kind: isinstance(kind, str) and folded(kind.lower())
    patterns = tuple(patterns)
    names = frozenset(name for name in patterns if not name.endswith("*"))
    prefixes = tuple(name[:-1] for name in patterns if name.endswith("*"))
    if not prefixes:
        return lambda kind: isinstance(kind, str) and kind in names
    return lambda kind: isinstance(kind, str) and (kind in names or kind.startswith(prefixes))


def scim_filter(patterns: Iterable[str]) -> str:
    """Give the SCIM filter that brings just these event types; with none, one that brings nothing.

    What would be too long for a URL is widened: to every type that begins with the same word.
    """
    patterns = set(patterns)
    wanted = _filter(patterns)
    if len(wanted) <= LONGEST_FILTER:
        return wanted
    widened = _filter(
        {f"{pattern.partition('.')[0]}.*" if "." in pattern else pattern for pattern in patterns}
    )
    return widened if len(widened) <= LONGEST_FILTER else "eventType pr"


def _filter(patterns: Iterable[str]) -> str:
    terms = []
    covered: tuple[str, ...] = ()
    # A prefix comes before whatever it covers.
    for name, whole in sorted((pattern.removesuffix("*"), not pattern.endswith("*")) for pattern in patterns):
        if not name.startswith(covered):
            covered += () if whole else (name,)
            terms.append(f'eventType {"eq" if whole else "sw"} "{name}"')
    return " or ".join(terms) or 'eventType eq ""'
