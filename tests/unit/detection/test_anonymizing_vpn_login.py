"""The main detection: its matches, severities, titles and dedup keys."""

import itertools
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.detection.anonymizer_signals import AnonymizerSignals
from oktawatch.detection.evidence_severity import GradedSeverity
from oktawatch.detection.history import MemoryHistory
from oktawatch.detection.networks import Networks
from oktawatch.detection.registry import RuleSet
from oktawatch.detection.rule import EventRule, Rule
from oktawatch.detection.rules.anonymizing_vpn_login import AnonymizingVpnLogin
from oktawatch.model.event import Event
from oktawatch.model.history import HistoryRow
from oktawatch.model.match import AlertDetails, Match
from oktawatch.model.person_past import Past
from oktawatch.model.severity import Severity
from tests.support.shared import shared_data
from tests.unit.detection.events import event, sign_in

RULE = AnonymizingVpnLogin()
PUBLISHED = AnonymizingVpnLogin(
    signals=AnonymizerSignals(["is_proxy"]), severity_from_evidence=False, raise_on_success=False
)
CONTEXT = {
    "event_type": "",
    "severity": "",
    "actor": {},
    "client": {},
    "request": {},
    "outcome": {},
    "target": [],
    "debug_context": {},
    "authentication_context": {},
    "security_context": {},
    "ips": [],
    "displayName": "",
    "alternateId": "",
    "match_severity": "",
    "severity_reasons": [],
    "anonymizer": {},
}
RELAY = {"ipinfo_privacy": {"client.ipAddress": {"service": "Apple Private Relay"}}}


def no_error(rule: Rule, uuid: str, error: Exception) -> None:
    """Fail: the rule must not raise here."""
    raise AssertionError(f"{rule.id} raised at {uuid}") from error


def matches(*events: Event, rule: EventRule = RULE) -> list[Match]:
    """Evaluate a page."""
    return list(rule.evaluate(events, no_error))


def details(one: Event, rule: EventRule = RULE) -> AlertDetails:
    """Return the columns of an event's alert."""
    (match,) = matches(one, rule=rule)
    return match.details()


def camel_case(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body with the API's spelling of the top-level keys."""
    names = (
        "uuid published eventType legacyEventType displayMessage severity version actor client outcome target request "
        "transaction debugContext authenticationContext securityContext p_enrichment"
    )
    spelled = {name.lower(): name for name in names.split()}
    return {spelled[key.lower()]: value for key, value in body.items()}


@pytest.mark.parametrize("spelling", ["published", "camelcase"])
@pytest.mark.parametrize(
    ("rule", "proxy"),
    [(RULE, Severity.HIGH), (PUBLISHED, Severity.MEDIUM)],
    ids=["evidence", "as published"],
)
def test_the_published_cases_have_their_results(spelling: str, rule: EventRule, proxy: Severity) -> None:
    """Another event does not match, an anonymizing proxy matches, and Apple's relay matches with INFO.

    FastPass declined the sign-in through the published proxy as phishing, which raises its severity by one level.
    """
    cases = json.loads(shared_data("panther_r1_cases.json").read_text(encoding="utf-8"))
    severities = {}
    for case in cases:
        found = matches(Event.from_body(camel_case(case[spelling])), rule=rule)
        assert bool(found) is case["expected"]
        severities[case["name"]] = [match.severity for match in found]
    assert severities == {
        "Other Event": [],
        "Anonymizing Proxy Used": [proxy],
        "Apple Private Relay Used": [Severity.INFO],
    }


def test_a_faulty_severity_does_not_lose_the_match() -> None:
    """If `graded` raises, the match has the rule's severity, without reasons."""

    class Faulty(AnonymizingVpnLogin):
        def graded(self, event: Event, past: Past) -> GradedSeverity:
            raise OSError("broken")

    rows = RuleSet([]).history_rows([event()])
    (found,) = Faulty().evaluate_with_past([event_of(rows[0])], rows, MemoryHistory(), no_error)
    assert found.severity is Severity.MEDIUM
    assert found.details().context["severity_reasons"] == []


def event_of(row: HistoryRow) -> Event:
    """Return the event of a row of the page."""
    assert row.event is not None
    return row.event


def test_a_failed_sign_in_through_a_proxy_is_medium() -> None:
    """The match and its severity don't depend on the outcome."""
    (match,) = matches(event(outcome={"result": "FAILURE"}))
    assert (match.rule_id, match.event_uuid, match.severity) == (RULE.id, "e-1", Severity.MEDIUM)


def test_apples_relay_is_info() -> None:
    """A sign-in is INFO if an enrichment names Apple's relay."""
    (match,) = matches(event(p_enrichment=RELAY))
    assert match.severity is Severity.INFO


@pytest.mark.parametrize(
    "context",
    [{"isProxy": False}, {"isProxy": None}, {}, None, {"isProxy": "true"}, {"isProxy": 1}, [], "true", 1],
)
def test_only_json_true_matches(context: Any) -> None:
    """Only JSON's true matches, not false, null, a missing value or another true-like value."""
    assert matches(event(securityContext=context)) == []


@pytest.mark.parametrize(
    "kind", ["user.authentication.sso", "User.Session.Start", "", None, 7, ["user.session.start"]]
)
def test_another_event_type_does_not_match(kind: Any) -> None:
    """Event types are case-sensitive, and a type that is not text matches nothing."""
    assert matches(event(eventType=kind)) == []


def test_matches_are_in_the_pages_order() -> None:
    """Matches are never sorted, because grouping depends on the order of arrival."""
    page = [event("late", timedelta(hours=2)), event("no", eventType="x"), event("early")]
    assert [match.event_uuid for match in matches(*page)] == ["late", "early"]


PARTS = {
    "IP": "203.0.113.7",
    "ASO": "Example Hosting",
    "ISP": "Example Transit",
    "Domain": "example.net",
    "Service": "Apple Private Relay",
}
SUBSETS = [there for count in range(6) for there in itertools.combinations(PARTS, count)]


def test_a_domain_that_is_a_dot_is_not_in_the_title() -> None:
    """Okta writes a dot if the network has no domain."""
    title = details(
        event(client={}, securityContext={"isProxy": True, "isp": "Example", "domain": "."})
    ).title
    assert title.endswith("from an anonymizing proxy - ISP=Example")


@pytest.mark.parametrize("there", SUBSETS, ids="+".join)
@pytest.mark.parametrize("where", ["securityContext", "ipDetails"])
def test_the_title_lists_the_known_details_in_order(there: Sequence[str], where: str) -> None:
    """The title lists any combination of details, from either place in which the event can have them."""
    network = {
        key: PARTS[part]
        for part, key in {"ASO": "asOrg", "ISP": "isp", "Domain": "domain"}.items()
        if part in there
    }
    context = {"isProxy": True} | (network if where == "securityContext" else {"ipDetails": network})
    title = details(
        event(
            client={"ipAddress": PARTS["IP"]} if "IP" in there else {},
            securityContext=context,
            p_enrichment=RELAY if "Service" in there else None,
        )
    ).title
    parts = ", ".join(f"{part}={PARTS[part]}" for part in there)
    who = "Nora Vale <nora@example.com> tried to sign in from an anonymizing proxy"
    assert title == (f"{who} - {parts}" if parts else who)


@pytest.mark.parametrize(
    ("actor", "who"),
    [
        ({}, "<displayName-not-found> <alternateId-not-found>"),
        (None, "<displayName-not-found> <alternateId-not-found>"),
        ({"displayName": "Nora"}, "Nora <alternateId-not-found>"),
        ({"alternateId": "nora@example.com"}, "<displayName-not-found> <nora@example.com>"),
    ],
)
def test_the_title_has_placeholders_for_names(actor: Any, who: str) -> None:
    """The title of an actor without names has a placeholder."""
    assert details(event(actor=actor)).title.startswith(f"{who} tried")


@pytest.mark.parametrize(
    ("result", "verb"),
    [
        ("SUCCESS", "signed in"),
        ("ALLOW", "signed in"),
        ("FAILURE", "tried to sign in"),
        ("DENY", "tried to sign in"),
        ("CHALLENGE", "tried to sign in"),
    ],
)
def test_the_title_says_whether_access_was_granted(result: str, verb: str) -> None:
    """The title agrees with the counted outcomes."""
    assert details(event(outcome={"result": result})).title.startswith(
        f"Nora Vale <nora@example.com> {verb} from"
    )


@pytest.mark.parametrize("changes", [{}, {"client": None}, {"request": {"ipChain": "x"}}, {"actor": []}])
def test_the_context_is_always_complete(changes: dict[str, Any]) -> None:
    """The context has every part, with its type, whatever the event lacks."""
    context = details(event(**changes)).context
    assert context.keys() == CONTEXT.keys()
    assert [type(value) for value in context.values()] == [type(value) for value in CONTEXT.values()]


def test_the_context_of_a_bare_event_is_empty() -> None:
    """Missing values of an event are empty text, objects or lists in the context."""
    bare = {"uuid": "e-1", "published": "2026-11-02T12:00:00.000Z", "eventType": "user.session.start"}
    context = details(Event.from_body(bare | {"securityContext": {"isProxy": True}})).context
    marked = {"source": "isProxy", "kind": "proxy", "operator": None, "anonymous": True}
    assert context == CONTEXT | {
        "event_type": "user.session.start",
        "security_context": {"isProxy": True},
        "match_severity": "MEDIUM",
        "severity_reasons": ["proxy"],
        "anonymizer": {"kind": "proxy", "operator": None, "evidence": [marked]},
    }


def test_the_context_lists_each_address_once_in_order() -> None:
    """The context lists each address once, the client's first and then the chain's."""
    chain = [
        {"ip": "198.51.100.9"},
        {"ip": "203.0.113.7"},
        {"ip": "null"},
        {"ip": None},
        "x",
        {"ip": "192.0.2.1"},
    ]
    context = details(event(request={"ipChain": chain})).context
    assert context["ips"] == ["203.0.113.7", "198.51.100.9", "192.0.2.1"]


@pytest.mark.parametrize(
    ("actor", "client", "key"),
    [
        ({"id": "00u1", "alternateId": "n@example.com"}, {"ipAddress": "192.0.2.1"}, ["00u1", "192.0.2.1"]),
        ({"id": "unknown", "alternateId": "n@example.com"}, {"ipAddress": "null"}, ["n@example.com", ""]),
        ({"id": "unknown", "alternateId": "hunter2"}, {"ipAddress": "192.0.2.1"}, ["redacted", "192.0.2.1"]),
        ({"id": "-", "alternateId": "-"}, {}, ["redacted", ""]),
        ({"id": "a\0b"}, {"ipAddress": "-"}, ["a\ufffdb", ""]),
        (None, None, ["", ""]),
    ],
)
def test_the_dedup_key_is_the_actor_and_the_address(actor: Any, client: Any, key: list[str]) -> None:
    """The dedup key consists of actor and address, with the login in place of an unknown id."""
    (match,) = matches(event(actor=actor, client=client))
    assert json.loads(match.dedup_key) == key


def test_an_address_in_the_configured_ranges_is_a_relay() -> None:
    """A sign-in from an address in ``relay_networks`` is INFO; from another address it is not."""
    rule = AnonymizingVpnLogin(relay_networks=Networks.parse("203.0.113.0/29"))
    inside, outside = event(), event(client={"ipAddress": "203.0.113.8"})
    assert [match.severity for match in matches(inside, outside, rule=rule)] == [
        Severity.INFO,
        Severity.MEDIUM,
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
paths = st.sampled_from(
    [
        "actor", "actor.id", "actor.alternateId", "actor.displayName", "client", "client.ipAddress", "outcome",
        "client.geographicalContext", "securityContext.ipDetails", "securityContext.ipDetails.ipServiceCategories",
        "securityContext.asNumber", "securityContext.asOrg", "debugContext", "debugContext.debugData",
        "debugContext.debugData.tunnels", "p_enrichment", "p_enrichment.ipinfo_privacy", "request", "request.ipChain",
        "target", "severity", "eventType", "authenticationContext", "authenticationContext.externalSessionId",
    ]
)  # fmt: skip


@given(
    st.dictionaries(st.text(max_size=8), json_values, max_size=4),
    st.dictionaries(paths, json_values, max_size=6),
)
def test_no_event_body_makes_the_rule_raise(strange: dict[str, Any], changes: dict[str, Any]) -> None:
    """An event with any JSON value anywhere either matches with a complete context or does not match."""
    body = strange | sign_in() | {"p_enrichment": {}, "debugContext": {"debugData": {}}}
    for path, value in changes.items():
        *way, last = path.split(".")
        place: Any = body
        for key in way:
            place = place.setdefault(key, {}) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place[last] = value
    for match in matches(Event.from_body(body)):
        shown = match.details()
        assert shown.title.isprintable()
        assert shown.context.keys() == CONTEXT.keys()
        text = json.dumps(shown.context, allow_nan=False)
        assert "\\u0000" not in text
        assert len(json.loads(match.dedup_key)) == 2
