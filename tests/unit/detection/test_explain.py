"""An explanation agrees with the rule, and names the deciding condition."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.detection.anonymizer_signals import AnonymizerSignals
from oktawatch.detection.explain import explain
from oktawatch.detection.history import MemoryHistory
from oktawatch.detection.registry import BUILT_IN
from oktawatch.detection.rule import Rule
from oktawatch.detection.rule_guard import guarded
from oktawatch.detection.rules.anonymizing_vpn_login import AnonymizingVpnLogin
from oktawatch.detection.rules.failed_logins_unknown_user import FailedLoginsUnknownUser
from oktawatch.detection.rules.first_proxied_session import FirstProxiedSession
from oktawatch.detection.rules.high_risk_admin_activity import HighRiskAdminActivity
from oktawatch.detection.rules.login_success import LoginSuccess
from oktawatch.detection.rules.session_cookie_replay import SessionCookieReplay
from oktawatch.detection.signals import Seen
from oktawatch.model.event import Event
from oktawatch.model.history import HistoryRow
from tests.unit.detection.history_streams import body_of, rule_of, streams
from tests.unit.detection.reference import REFERENCE_RULES

BY_SIGNALS = "The address has one of the anonymizer marks is_proxy, tunnels, ip_details, associated_proxies"


def deciding_condition(rule: Rule, *bodies: dict[str, Any]) -> tuple[bool, str]:
    """Explain the last event; return whether it matches, and the deciding condition."""
    rows = [HistoryRow.of(Event.from_body(body)) for body in bodies]
    history = MemoryHistory()
    history.add(rows)
    conditions = explain(rule, rows[-1], history)
    assert all(condition.holds for condition in conditions[:-1])
    return conditions[-1].holds, conditions[-1].text


def sign_in(fields: dict[str, Any] | None = None, number: int = 0, minutes: int = 0) -> dict[str, Any]:
    """Build a sign-in."""
    given = {"eventType": "user.session.start", "actor.id": "00u1", "actor.alternateId": "nora@example.com"}
    given |= {"client.ipAddress": "203.0.113.7"}
    return body_of(number, timedelta(minutes=minutes), given | (fields or {}))


@pytest.mark.parametrize("rule_id", REFERENCE_RULES)
@given(data=st.data())
def test_explanations_agree_with_the_reference(rule_id: str, data: st.DataObject) -> None:
    """For each event of a random stream, the explanation agrees with the reference, with the whole stream in history."""
    rule = rule_of(rule_id)
    stream = data.draw(streams(rule_id))
    rows = {body["uuid"]: HistoryRow.of(Event.from_body(body)) for body in stream}
    history = MemoryHistory()
    history.add(rows.values())
    matched = {uuid for uuid, row in rows.items() if all(one.holds for one in explain(rule, row, history))}
    assert matched == REFERENCE_RULES[rule_id].matches(stream)


@pytest.mark.parametrize(
    ("rule", "bodies", "expected"),
    [
        (
            AnonymizingVpnLogin(),
            [sign_in({"eventType": "zone.update"})],
            (False, "The event type is one of: user.session.start"),
        ),
        (
            AnonymizingVpnLogin(),
            [sign_in()],
            (False, f"{BY_SIGNALS}: it has none"),
        ),
        (
            AnonymizingVpnLogin(),
            [sign_in({"debugContext.debugData.tunnels": '[{"anonymous":true}]'})],
            (True, f"{BY_SIGNALS}: it has tunnels"),
        ),
        (
            AnonymizingVpnLogin(signals=AnonymizerSignals(["is_proxy"])),
            [sign_in({"debugContext.debugData.tunnels": '[{"anonymous":true}]'})],
            (False, "The address has one of the anonymizer marks is_proxy: it has none"),
        ),
        (LoginSuccess(), [sign_in({"outcome.result": "SUCCESS"})], (True, "The outcome is SUCCESS.")),
        (
            FirstProxiedSession(),
            [sign_in({"securityContext.isProxy": False})],
            (
                False,
                "One of is_proxy, anonymous_tunnel, anonymous_service, associated_proxy is true: none is",
            ),
        ),
        (
            FirstProxiedSession(),
            [sign_in({"securityContext.isProxy": True, "actor.id": "unknown"})],
            (False, "actor_id is known"),
        ),
        (
            FirstProxiedSession(),
            [sign_in({"securityContext.isProxy": True}, n, n) for n in range(2)],
            (False, "No earlier matching event of 00u1 within 7d"),
        ),
        (
            FirstProxiedSession(),
            [sign_in({"securityContext.isProxy": True})],
            (True, "No earlier matching event of 00u1 within 7d"),
        ),
        (
            FailedLoginsUnknownUser(),
            [sign_in({"outcome.reason": "VERIFICATION_ERROR"}, n) for n in range(3)],
            (False, "At least 16 matching events within 5m: found 3"),
        ),
        (
            FailedLoginsUnknownUser(),
            [sign_in({"outcome.reason": "VERIFICATION_ERROR", "client.ipAddress": None})],
            (
                False,
                "The key is known (The login in lower case and the client's address): nora@example.com, unknown",
            ),
        ),
        (
            HighRiskAdminActivity(),
            [sign_in({"securityContext.risk": {"level": "HIGH"}, "outcome.result": "SUCCESS"})],
            (
                False,
                "The key is known: actor_id is 00u1, client_ip is 203.0.113.7, external_session_id is unknown",
            ),
        ),
        (
            HighRiskAdminActivity(),
            [
                sign_in(
                    {
                        "eventType": "system.api_token.create",
                        "outcome.result": "SUCCESS",
                        "authenticationContext.externalSessionId": "s1",
                    }
                )
            ],
            (False, "Within 1h: A sign-in with HIGH risk was allowed."),
        ),
        (
            SessionCookieReplay(),
            [sign_in({"eventType": "user.authentication.sso", "authenticationContext.rootSessionId": "r1"})],
            (False, "Earlier, within 30m: An event started the session."),
        ),
    ],
)
def test_the_deciding_condition_is_named(
    rule: Rule, bodies: list[dict[str, Any]], expected: tuple[bool, str]
) -> None:
    """The deciding condition is the first unmet one, or the last one of a match."""
    assert deciding_condition(rule, *bodies) == expected


def test_a_rule_that_raises_is_explained() -> None:
    """The explanation of a rule that raises names the exception."""

    class Raising(LoginSuccess):
        """Broken."""

        def matches(self, event: Seen) -> bool:
            """Fail."""
            raise ZeroDivisionError(event.uuid)

    holds, text = deciding_condition(Raising(), sign_in())
    assert not holds
    assert text.startswith("The rule raised ZeroDivisionError: ")


@pytest.mark.parametrize("method", ["condition", "matches"])
def test_a_rule_that_exits_is_explained(method: str) -> None:
    """SystemExit in any method of a custom rule does not end the explanation."""

    def exit_(_self: Rule, _event: Seen) -> str:
        raise SystemExit(3)

    rule_class: Any = type("Exiting", (LoginSuccess,), {method: exit_})
    holds, text = deciding_condition(guarded(rule_class()), sign_in())
    assert not holds
    assert text.startswith("The rule raised RuleError: the rule raised SystemExit")


def test_every_rule_can_be_explained() -> None:
    """Every condition of a rule has a docstring."""
    for rule_class in BUILT_IN:
        make: Any = rule_class
        conditions = explain(make(), HistoryRow.of(Event.from_body(sign_in())), MemoryHistory())
        assert conditions
        assert all(condition.text for condition in conditions)
