"""Users' rules that a page was evaluated without, and why."""

from datetime import datetime

from msgspec import Struct


class LeftOut(Struct, frozen=True, kw_only=True):
    """A rule that was left out of a page."""

    rule_id: str
    event_uuid: str
    """The event that it looked at last; the page's first where that is not known."""
    reason: str


class FrozenCall(Struct, frozen=True, kw_only=True):
    """A call of a rule's method that ran when the process ended."""

    org: str
    rule_id: str
    event_uuid: str
    """Empty where the method looks at no event."""
    page_uuid: str
    """The first event of the page that was evaluated."""
    began: float
    """By the monotonic clock."""


class Frozen(Struct, frozen=True, kw_only=True):
    """A call that froze the process, as the database remembers it."""

    rule_id: str
    event_uuid: str
    page_uuid: str
    froze_at: datetime


class LeftOutRule(Struct, frozen=True, kw_only=True):
    """A rule that was left out of an org's pages lately."""

    org: str
    rule_id: str
    event_uuid: str
    reason: str
    at: datetime
    """When it was last left out."""
