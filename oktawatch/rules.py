"""The public interface for authors of rules.

Import everything that a rule needs from here. Semantic versioning covers only this module and ``oktawatch.channels``: a
name or method documented in docs/rules.md changes its meaning or goes away only with a new major version. All other
modules may change in any release.

    from oktawatch.rules import CountInWindow, Severity
"""

from oktawatch.detection.first_seen import FirstSeen
from oktawatch.detection.rule import EventRule, Key
from oktawatch.detection.signals import Seen, SignalRule
from oktawatch.detection.windows import (
    CountInWindow,
    DistinctInWindow,
    PairInWindow,
    SequenceInWindow,
    WindowRule,
)
from oktawatch.model.event import Event
from oktawatch.model.history import Column, HistoryRow
from oktawatch.model.severity import Severity

__all__ = [
    "Column",
    "CountInWindow",
    "DistinctInWindow",
    "Event",
    "EventRule",
    "FirstSeen",
    "HistoryRow",
    "Key",
    "PairInWindow",
    "Seen",
    "SequenceInWindow",
    "Severity",
    "SignalRule",
    "WindowRule",
]
