"""Random streams for windowed rules, with few different values and with times at the borders of windows."""

import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from oktawatch.detection.options import configured
from oktawatch.detection.registry import BUILT_IN
from oktawatch.detection.rule import Rule
from oktawatch.detection.rules.first_proxied_session import FirstProxiedSession
from oktawatch.detection.windows import HistoryRule
from oktawatch.model.timestamps import to_text
from tests.unit.detection.events import NOON
from tests.unit.detection.reference import Body

RULES = {rule.id: rule for rule in BUILT_IN}


def rule_of(rule_id: str) -> Rule:
    """Return a rule with a threshold that small streams can reach."""
    counts = rule_id in {"Okta.Shared.Device.Token", "Okta.Failed.Logins.Unknown.User"}
    return configured(RULES[rule_id], {"at_least": 3} if counts else {}, str)


def times(reach: timedelta) -> st.SearchStrategy[timedelta]:
    """Draw times at the borders of windows and next to them."""
    near = st.sampled_from([0, 0, 0, 0, -1, 1]).map(lambda off: timedelta(milliseconds=off))
    return st.builds(lambda n, off: n * reach / 2 + off, st.integers(0, 4), near)


some = st.sampled_from
MIXES: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "Okta.Multiple.Sessions": {
        "eventType": some(["user.session.start"] * 4 + ["user.authentication.sso"]),
        "actor.id": some(["00u1"] * 4 + ["00u2", "unknown", "okta.1"]),
        "actor.displayName": some(["Nora"] * 4 + ["okta bot", "Okta System", None]),
        "authenticationContext.externalSessionId": some(["s1", "s2", "s3", "s4", "unknown", "", None]),
    },
    "Okta.Shared.Device.Token": {
        "eventType": some(["user.session.start", "user.authentication.sso", "user.account.lock"]),
        "actor.id": some(["00u1", "unknown"]),
        "actor.alternateId": some(["a@example.com", "b@example.com", "secret", "c@example.com", None]),
        "outcome.reason": some(["INVALID_CREDENTIALS"] * 4 + ["VERIFICATION_ERROR", None]),
        "debugContext.debugData.dtHash": some(["h1"] * 4 + ["h2", "-", None]),
    },
    "Okta.Session.Cookie.Replay": {
        "eventType": some(["user.session.start", "policy.evaluate_sign_on", "user.authentication.sso", "x"]),
        "actor.alternateId": some(["a@example.com"] * 4 + ["system@okta.com", None]),
        "client.ipAddress": some(["203.0.113.7", "198.51.100.9", None]),
        "client.userAgent.rawUserAgent": some(
            ["Chrome", "Firefox", "curl/8", "x Headless y", "CURL/8", None]
        ),
        "authenticationContext.rootSessionId": some(["r1", "r1", "unknown", None]),
        "authenticationContext.externalSessionId": some(["r1", "s2", None]),
    },
    "Okta.Failed.Logins.Unknown.User": {
        "eventType": some(["user.session.start", "USER.Session.start", "user.authentication.sso"]),
        "actor.id": some(["00u1", "unknown"]),
        "actor.alternateId": some(["a@example.com", "A@example.com", "b@example.com", "secret", None]),
        "client.ipAddress": some(["203.0.113.7", "203.0.113.7", "198.51.100.9", "null"]),
        "outcome.reason": some(["VERIFICATION_ERROR", "verification_error", "INVALID_CREDENTIALS"]),
    },
    "Okta.High.Risk.Admin.Activity": {
        "eventType": some(
            [
                "user.session.start",
                "policy.evaluate_sign_on",
                "system.api_token.create",
                "group.privilege.grant",
                "x",
            ]
        ),
        "outcome.result": some(["SUCCESS", "SUCCESS", "ALLOW", "FAILURE"]),
        "actor.id": some(["00u1", "00u1", "unknown"]),
        "client.ipAddress": some(["203.0.113.7", "203.0.113.7", "198.51.100.9"]),
        "authenticationContext.externalSessionId": some(["s1", "s1", "s2", ""]),
        "securityContext.risk": some([{"level": "HIGH"}, {"level": "high"}, {"level": "LOW"}, None]),
        "debugContext.debugData.logOnlySecurityData": some(
            [None, None, '{"risk":{"level":"HIGH"}}', '{"risk":{"level":"LOW"}}', "{broken"]
        ),
    },
    "Okta.New.Device.Critical.Operation": {
        "eventType": some(["user.session.start", "zone.update", "user.mfa.factor.reset_all", "x"]),
        "outcome.result": some(["SUCCESS", "SUCCESS", "success"]),
        "actor.id": some(["00u1", "00u1", "unknown"]),
        "client.ipAddress": some(["203.0.113.7", "203.0.113.7", "198.51.100.9"]),
        "debugContext.debugData.behaviors": some(
            [
                "{New Country=POSITIVE, New Geo-Location=POSITIVE, New Device=POSITIVE}",
                "{New Country=POSITIVE, New Geo-Location=NEGATIVE, New Device=POSITIVE}",
                None,
            ]
        ),
    },
    FirstProxiedSession.id: {
        "eventType": some(
            ["user.session.start", "user.authentication.sso", "user.authentication.verify", "x"]
        ),
        "actor.id": some(["00u1", "00u1", "00u2", "unknown", "okta.1"]),
        "securityContext.isProxy": some([True, True, False, None, "true"]),
    },
}


def body_of(number: int, at: timedelta, values: dict[str, Any]) -> Body:
    """Build an event from values at dotted paths."""
    body: Body = {"uuid": f"e-{number:03d}", "published": to_text(NOON + at)}
    for path, value in values.items():
        *way, last = path.split(".")
        place = body
        for key in way:
            place = place.setdefault(key, {})
        place[last] = value
    return body


@st.composite
def streams(draw: st.DrawFn, rule_id: str) -> list[Body]:
    """Draw a stream in any order, with uuids that don't depend on the times."""
    rule = configured(RULES[rule_id], {}, str)
    assert isinstance(rule, HistoryRule)
    drawn = draw(st.lists(st.tuples(times(rule.window), st.fixed_dictionaries(MIXES[rule_id])), max_size=24))
    numbers = draw(st.permutations(range(len(drawn))))
    return [body_of(number, at, values) for number, (at, values) in zip(numbers, drawn, strict=True)]


def pages_of(data: st.DataObject, stream: Sequence[Body]) -> list[Sequence[Body]]:
    """Cut a stream into pages at random places."""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=6)))
    return [stream[a:b] for a, b in itertools.pairwise([0, *cuts, len(stream)])]
