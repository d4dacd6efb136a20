"""Custom rules that were left out of the evaluation of a page, and the reasons."""

from datetime import datetime

from msgspec import Struct


class LeftOut(Struct, frozen=True, kw_only=True):
    """A rule that was left out of a page."""

    rule_id: str
    event_uuid: str
    """The event of the rule's last call, or the page's first event if that call had none."""
    reason: str


class FrozenCall(Struct, frozen=True, kw_only=True):
    """A call of a rule's method that was running when the process ended."""

    org: str
    rule_id: str
    event_uuid: str
    """Empty if the method doesn't take an event."""
    page_uuid: str
    """The first event of the evaluated page."""
    began: float
    """The start of the call in seconds of the monotonic clock."""


class Frozen(Struct, frozen=True, kw_only=True):
    """A call that froze the process, as stored in the database."""

    org: str
    rule_id: str
    event_uuid: str
    """Equal to ``page_uuid`` if the method doesn't take an event."""
    page_uuid: str
    """The first event of the evaluated page."""
    froze_at: datetime


class LeftOutRule(Struct, frozen=True, kw_only=True):
    """A rule that was recently left out of an org's pages."""

    org: str
    rule_id: str
    event_uuid: str
    reason: str
    at: datetime
    """The last time that the rule was left out."""
