"""The reference implementation of the windowed rules: slow and simple, over the bodies of all events at once.

It uses no code under test. An event is the JSON object that Okta sends.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

Body = dict[str, Any]
NOTHING = (None, "", "-", "null", "unknown")


def look_up(body: Any, path: str) -> Any:
    """Return the value at a dotted path, or None."""
    for key in path.split("."):
        body = body.get(key) if isinstance(body, dict) else None
    return None if isinstance(body, str) and body in NOTHING else body


def alternate_id(body: Body) -> Any:
    """Return the login, redacted if it may be a password."""
    login = look_up(body, "actor.alternateId")
    hidden = look_up(body, "actor.id") is None and login is not None and "@" not in login
    return "redacted" if hidden else login


def session(body: Body) -> Any:
    """Return the root session, or the session if there is no root session."""
    return look_up(body, "authenticationContext.rootSessionId") or look_up(
        body, "authenticationContext.externalSessionId"
    )


def risk(body: Body) -> Any:
    """Return the risk level in upper case."""
    try:
        level = json.loads(look_up(body, "debugContext.debugData.logOnlySecurityData") or "")["risk"]["level"]
    except (ValueError, KeyError, TypeError):
        level = look_up(body, "securityContext.risk.level")
    return level and level.upper()


class ReferenceRule:
    """One rule: its events, their key, and the condition on a window."""

    def __init__(
        self,
        window: timedelta,
        takes: Callable[[Body], bool],
        key: Callable[[Body], tuple[Any, ...]],
        holds: Callable[[Sequence[Body]], bool],
    ) -> None:
        self.window = window
        self.takes = takes
        self.key = key
        self.holds = holds

    def matches(self, bodies: Sequence[Body]) -> set[str]:
        """Return the uuids of the matching events, from all events at once."""
        parts = [body for body in bodies if self.takes(body) and None not in self.key(body)]
        return {event["uuid"] for event in parts if self.holds(self._window_of(event, parts))}

    def _window_of(self, event: Body, parts: Sequence[Body]) -> list[Body]:
        found = {
            other["uuid"]: other
            for other in parts
            if self.key(other) == self.key(event)
            and time(other) >= time(event) - self.window
            and place(other) <= place(event)
        }
        return sorted(found.values(), key=place)


def time(body: Body) -> datetime:
    """Return the event's time."""
    return datetime.fromisoformat(body["published"])


def place(body: Body) -> tuple[datetime, str]:
    """Return the event's key in the order of windows."""
    return (time(body), body["uuid"])


def kind(body: Body) -> Any:
    """Return the event type."""
    return body["eventType"]


def ours(body: Body) -> bool:
    """Return whether the actor is one of Okta's own actors."""
    names = (look_up(body, "actor.id"), look_up(body, "actor.displayName"))
    return any(name is not None and name.startswith("okta") for name in names)


def result(body: Body) -> Any:
    """Return the outcome."""
    return look_up(body, "outcome.result")


SESSION = "authenticationContext.externalSessionId"
PROGRAMS = ("python-requests", "curl/", "httpx", "aiohttp", "Go-http-client", "Java/", "okhttp")


def replayed(window: Sequence[Body]) -> bool:
    """Return whether a session continues from another address or client, and a program uses it."""
    last = window[-1]
    starts = [body for body in window if kind(body) == "user.session.start" and time(body) < time(last)]
    if kind(last) == "user.session.start" or not starts:
        return False
    stretch = [body for body in window if place(body) >= place(starts[0])]
    addresses = {look_up(body, "client.ipAddress") for body in stretch} - {None}
    agents = {look_up(body, "client.userAgent.rawUserAgent") for body in stretch} - {None}
    programs = [agent for agent in agents if agent.startswith(PROGRAMS) or "Headless" in agent]
    return (len(addresses) > 1 or len(agents) > 1) and bool(programs)


def administered(body: Body) -> bool:
    """Return whether an event is an administrator's operation."""
    return kind(body) in {"system.api_token.create", "group.privilege.grant"} and result(body) == "SUCCESS"


def risky(body: Body) -> bool:
    """Return whether an event is a sign-in with high risk."""
    wanted = {"user.session.start": "SUCCESS", "policy.evaluate_sign_on": "ALLOW"}.get(kind(body))
    return wanted is not None and result(body) == wanted and risk(body) == "HIGH"


def changed(body: Body) -> bool:
    """Return whether an event is a critical operation."""
    return kind(body) in {"zone.update", "user.mfa.factor.reset_all"} and result(body) == "SUCCESS"


def new_everywhere(body: Body) -> bool:
    """Return whether an event is a sign-in from a new country, place and device."""
    behaviours = look_up(body, "debugContext.debugData.behaviors") or ""
    return (
        kind(body) == "user.session.start"
        and result(body) == "SUCCESS"
        and all(
            f"{name}=POSITIVE" in behaviours for name in ("New Country", "New Geo-Location", "New Device")
        )
    )


def address(body: Body) -> Any:
    """Return the client's address."""
    return look_up(body, "client.ipAddress")


REFERENCE_RULES = {
    "Okta.Multiple.Sessions": ReferenceRule(
        timedelta(minutes=35),
        lambda body: (
            kind(body) == "user.session.start" and look_up(body, SESSION) is not None and not ours(body)
        ),
        lambda body: (look_up(body, "actor.id"),),
        lambda window: len({look_up(body, SESSION) for body in window}) >= 3,
    ),
    "Okta.Shared.Device.Token": ReferenceRule(
        timedelta(minutes=9),
        lambda body: (
            (kind(body) == "user.session.start" or kind(body).startswith("user.authentication."))
            and look_up(body, "outcome.reason") == "INVALID_CREDENTIALS"
        ),
        lambda body: (look_up(body, "debugContext.debugData.dtHash"),),
        lambda window: len({alternate_id(body) for body in window} - {None}) >= 3,
    ),
    "Okta.Session.Cookie.Replay": ReferenceRule(
        timedelta(minutes=30),
        lambda body: (
            kind(body) in {"user.session.start", "policy.evaluate_sign_on", "user.authentication.sso"}
            and alternate_id(body) != "system@okta.com"
        ),
        lambda body: (session(body), alternate_id(body)),
        replayed,
    ),
    "Okta.Failed.Logins.Unknown.User": ReferenceRule(
        timedelta(minutes=5),
        lambda body: (
            kind(body).lower() == "user.session.start"
            and (look_up(body, "outcome.reason") or "").lower() == "verification_error"
        ),
        lambda body: (alternate_id(body) and alternate_id(body).lower(), address(body)),
        lambda window: len(window) >= 3,
    ),
    "Okta.High.Risk.Admin.Activity": ReferenceRule(
        timedelta(hours=1),
        lambda body: administered(body) or risky(body),
        lambda body: (look_up(body, "actor.id"), address(body), look_up(body, SESSION)),
        lambda window: any(map(administered, window)) and any(map(risky, window)),
    ),
    "Okta.New.Device.Critical.Operation": ReferenceRule(
        timedelta(hours=1),
        lambda body: changed(body) or new_everywhere(body),
        lambda body: (look_up(body, "actor.id"), address(body)),
        lambda window: any(map(changed, window)) and any(map(new_everywhere, window)),
    ),
}
"""The windowed rules, with ``at_least = 3`` for those that count, so that small streams reach it."""


def first_seen(stream: Sequence[Body]) -> list[str]:
    """Return the uuids of first proxied events, for a stream in the order of arrival."""
    kinds = {
        "user.session.start",
        "user.authentication.verify",
        "user.authentication.sso",
        "user.authentication.auth_via_mfa",
    }
    before: list[Body] = []
    fired = []
    for body in stream:
        actor = look_up(body, "actor.id")
        proxied = look_up(body, "securityContext.isProxy") is True and kind(body) in kinds
        if not proxied or actor is None or actor.startswith("okta"):
            continue
        earlier = [
            other
            for other in before
            if look_up(other, "actor.id") == actor
            and time(body) - timedelta(days=7) <= time(other) <= time(body)
            and other["uuid"] != body["uuid"]
        ]
        if not earlier:
            fired.append(body["uuid"])
        before.append(body)
    return fired
