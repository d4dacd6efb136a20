"""Event type patterns: an exact event type, or a prefix followed by ``*``."""

import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any
from urllib.parse import quote

_LONGEST_FILTER = 3_500
"""The maximum length of a filter in a URL, in percent-encoded characters. Okta limits the whole URL to 4 KB."""

is_pattern = re.compile(r"[A-Za-z0-9_.-]*\*?").fullmatch
"""Match an event type pattern that can be quoted in a SCIM filter."""


class EventTypes(tuple[str, ...]):  # noqa: SLOT001 -- the compiled test is cached on the instance
    """Configurable event type patterns. ``in`` tests whether an event type matches any of them."""

    def __contains__(self, kind: object) -> bool:
        return self._test(kind)

    @cached_property
    def _test(self) -> Callable[[Any], bool]:
        return type_test(self)


def type_test(patterns: Iterable[str], *, ignore_case: bool = False) -> Callable[[Any], bool]:
    """Return a function that tests whether a value is a string matching one of the patterns."""
    if ignore_case:
        folded = type_test([pattern.lower() for pattern in patterns])
        return lambda kind: isinstance(kind, str) and folded(kind.lower())
    patterns = tuple(patterns)
    names = frozenset(name for name in patterns if not name.endswith("*"))
    prefixes = tuple(name[:-1] for name in patterns if name.endswith("*"))
    if not prefixes:
        return lambda kind: isinstance(kind, str) and kind in names
    return lambda kind: isinstance(kind, str) and (kind in names or kind.startswith(prefixes))


def scim_filter(patterns: Iterable[str]) -> str:
    """Return the SCIM filter for these patterns. Without patterns, the filter matches no event.

    If the filter is too long for a URL, replace each pattern with its first word: ``user.session.start`` becomes
    ``user.*``. If the filter is still too long, match all events.
    """
    patterns = set(patterns)
    wanted = _filter(patterns)
    if _fits(wanted):
        return wanted
    widened = _filter(
        {f"{pattern.partition('.')[0]}.*" if "." in pattern else pattern for pattern in patterns}
    )
    return widened if _fits(widened) else "eventType pr"


def _fits(scim: str) -> bool:
    return len(quote(scim, safe="")) <= _LONGEST_FILTER


def _filter(patterns: Iterable[str]) -> str:
    terms = []
    covered: tuple[str, ...] = ()
    # Sorting puts each prefix before the names that it covers.
    for name, exact in sorted((pattern.removesuffix("*"), not pattern.endswith("*")) for pattern in patterns):
        if not name.startswith(covered):
            covered += () if exact else (name,)
            terms.append(f'eventType {"eq" if exact else "sw"} "{name}"')
    return " or ".join(terms) or 'eventType eq ""'
