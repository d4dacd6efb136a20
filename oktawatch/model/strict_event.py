"""Ordinary events: what history remembers of them, decoded with their page.

Nearly every event is as Okta documents it, with text where text belongs and none of it long. Where rules
look back, a page of such events is decoded into just the fields that a row of history is made of, their
types and lengths checked by the decoder, so that a row takes them as they are. A decoder refuses a page
with anything else on it; that one is decoded like others, and its events are looked at field by field.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Struct

from oktawatch.model.event import LONGEST_UUID, Event
from oktawatch.model.sanitize import LONGEST_TEXT
from oktawatch.model.wire import RiskContext, RiskData

Text = Annotated[str, msgspec.Meta(max_length=LONGEST_TEXT)] | None


class Actor(Struct, gc=False):
    """Who did it."""

    id: Text = None
    alternateId: Text = None
    displayName: Text = None


class UserAgent(Struct, gc=False):
    """The client's program."""

    rawUserAgent: Text = None


class Client(Struct, gc=False):
    """Where the request came from."""

    ipAddress: Text = None
    userAgent: UserAgent | None = None


class Outcome(Struct, gc=False):
    """How it ended."""

    result: Text = None
    reason: Text = None


class AuthenticationContext(Struct, gc=False):
    """Which session it belongs to."""

    externalSessionId: Text = None
    rootSessionId: Text = None


class SecurityContext(RiskContext, gc=False):
    """What Okta thinks of the client's address, risk and behaviour."""

    isProxy: bool | None = None


class DebugData(RiskData, gc=False):
    """Keys that come and go."""

    dtHash: Text = None


class DebugContext(Struct, gc=False):
    """The wrapper around debugData."""

    debugData: DebugData | None = None


class StrictEvent(Event, gc=False):
    """One LogEvent that is ordinary where history looks. Its page's text must be clean: see ``needs_cleaning``."""

    uuid: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_UUID)]
    published: str
    eventType: Text = None
    actor: Actor | None = None
    client: Client | None = None
    outcome: Outcome | None = None
    authenticationContext: AuthenticationContext | None = None
    securityContext: SecurityContext | None = None
    debugContext: DebugContext | None = None

    # These two exist on the wire too, if somebody types them.
    raw: Any = None
    known: Any = None
