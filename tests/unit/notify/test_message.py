"""A message contains what the person on call needs, and strangers' text in it is harmless."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from oktawatch.model.notification import DueNotification, NotificationKind
from oktawatch.model.sighting import Novelty
from oktawatch.notify.composer import Composer
from oktawatch.notify.rule_text import RuleText
from tests.support.databases import NOW
from tests.support.hostile_text import hostile
from tests.support.messages import ACTION, ALERT, Tags, due, forms
from tests.support.outbox import COMPOSER


@pytest.mark.parametrize("form", [0, 1, 2])
def test_a_message_is_complete(form: int) -> None:
    """A message has severity, person, outcome, place, anonymizer, client, risk, time and the runbook."""
    rendered = forms(COMPOSER.compose(due()))[form]

    for part in (
        "[MEDIUM] nora@example.com tried to sign in through ExampleVPN, Oslo (acme)",
        "Nora Vale (nora@example.com)",
        "203.0.113.7 · Oslo, Norway · AS64500 Example Net",
        "VPN (EXAMPLE_VPN)",
        "CHROME on Windows 10 · ExampleBrowser/1.0 (Windows)",
        "risk HIGH · New Device",
        "2026-11-02 12:00:00 to 2026-11-02 12:05:30 UTC, 3 events",
        "3 failures, no success (the first: INVALID_CREDENTIALS)",
        "Okta Sign-In from VPN Anonymizer (Okta.Anonymizing.VPN.Login)",
        "Ask the user",
        "oktawatch alerts show 17",
        "oktawatch alerts ack 17",
        "https://acme-admin.okta.com/report/system_log_2?search=uuid%20eq%20%22",
    ):
        assert part in rendered


@pytest.mark.parametrize(
    ("first", "severity", "risen", "text"),
    [
        ("HIGH", "HIGH", False, "HIGH: Tor, familiar to this person"),
        (
            "HIGH",
            "CRITICAL",
            True,
            "CRITICAL, raised by a success after failures; initially HIGH (Tor, familiar to this person)",
        ),
        (
            "HIGH",
            "CRITICAL",
            False,
            "CRITICAL, raised by a later event; initially HIGH (Tor, familiar to this person)",
        ),
        ("INFO", "LOW", True, "LOW, raised by a later event; initially INFO (Tor, familiar to this person)"),
        (
            "MEDIUM",
            "HIGH",
            True,
            "HIGH, raised by a success after failures; initially MEDIUM (Tor, familiar to this person)",
        ),
        (None, "HIGH", False, "HIGH: Tor, familiar to this person"),
    ],
)
def test_a_message_explains_the_severity(first: str | None, severity: str, *, risen: bool, text: str) -> None:
    """The reasons are those of the first event. An alert of an older version lacks the first event's severity."""
    context = ALERT["context"] | {"severity_reasons": ["tor", "familiar to this person"]}
    context |= {"match_severity": first} if first else {}
    message = COMPOSER.compose(due(severity=severity, risen=risen, context=context))
    assert [line.text for line in message.lines if line.label == "Severity"] == [text]


def test_an_alert_without_reasons_has_no_line_about_its_severity() -> None:
    """Without usable reasons in the context, the message has no line about the severity."""
    strange: tuple[Any, ...] = ([], None, "tor", {})
    for found in strange:
        message = COMPOSER.compose(due(context=ALERT["context"] | {"severity_reasons": found}))
        assert "Severity" not in [line.label for line in message.lines]


@pytest.mark.parametrize(
    ("services", "kind", "operator", "name", "line"),
    [
        ([], "tor", None, "Tor", "Tor"),
        ([], "relay", "iCloud Private Relay", "iCloud Private Relay", "relay (iCloud Private Relay)"),
        ([], "hosting", None, "a hosting provider", "hosting"),
        ([], "residential_proxy", None, "a residential proxy", "residential proxy"),
        ([], "proxy", None, "an anonymizing proxy", None),
        ([], None, None, "an anonymizing proxy", None),
        ([{"type": "VPN", "operator": "NORD_VPN"}], "commercial_vpn", "NORD_VPN", "NordVPN", "VPN (NORD_VPN)"),
        ([{"type": "VPN"}], "commercial_vpn", None, "a VPN", "VPN"),
        (
            [{"type": "VPN", "operator": "APPLE_ICLOUD_RELAY_PROXY"}], "residential_proxy", "Example Pool", "Example Pool",
            "residential proxy (Example Pool), VPN (APPLE_ICLOUD_RELAY_PROXY)",
        ),
    ],
)  # fmt: skip
def test_a_message_names_the_anonymizer_of_all_evidence(
    services: list[dict[str, str]], kind: str | None, operator: str | None, name: str, line: str | None
) -> None:
    """A message first names the anonymizer that lists or databases found, then Okta's services."""
    security = {"isProxy": True, "ipDetails": {"ipServiceCategories": services}}
    context = ALERT["context"] | {"security_context": security}
    message = COMPOSER.compose(due(anonymizer=kind, operator=operator, context=context))
    assert f"tried to sign in through {name}, Oslo" in message.heading
    found = [shown.text for shown in message.lines if shown.label == "Anonymizer"]
    assert found == ([line] if line else [])


def test_a_long_runbook_is_cut() -> None:
    """A long runbook is shortened at a word and put on one line."""
    composer = Composer(orgs={}, rules={ALERT["rule_id"]: RuleText("Own", "Call Zoë.\n\nThen wait. " * 500)})
    message = composer.compose(due())

    (rendered,) = [line.text for line in message.lines if line.label == "What to do"]
    assert rendered.startswith("Call Zoë. Then wait. Call Zoë.")
    assert rendered.endswith((". …", "Then …", "Call …"))
    assert 590 < len(rendered) <= 600
    assert message.body["runbook"] == rendered


def test_the_body_has_the_runbook_and_the_rule() -> None:
    """A webhook gets the runbook, the rule's name, ATT&CK ids and Okta's URL, unless the rule is gone."""
    body, gone = COMPOSER.compose(due()).body, COMPOSER.compose(due(rule_id="Gone.Rule")).body
    assert "Ask the user" in body["runbook"]
    assert body["alert"]["rule_name"] == "Okta Sign-In from VPN Anonymizer"
    assert body["alert"]["mitre"] == ["TA0006:T1556"]
    assert body["alert"]["url"].startswith("https://acme-admin.okta.com/report/system_log_2?search=")
    assert (body["alert"]["failures"], body["alert"]["new"], body["alert"]["others"]) == (3, None, None)
    assert (gone["runbook"], gone["alert"]["rule_name"], gone["alert"]["mitre"]) == ("", None, [])


def test_a_row_without_content_is_an_error() -> None:
    """A row without content raises ValueError, and is not sent as a test message."""
    with pytest.raises(ValueError, match="of kind silence"):
        COMPOSER.compose(structs.replace(due(NotificationKind.SILENCE), alert=None, event=None))


def test_new_attributes_are_shown_if_they_are_known() -> None:
    """A message names new places and devices, and other people at the address."""
    new, nothing, first = (
        COMPOSER.compose(structs.replace(due(context={}), novelty=novelty))
        for novelty in (
            Novelty(new=("country", "address"), known_since=NOW, others=1),
            Novelty(new=(), known_since=NOW, others=0),
            Novelty(new=("country",), known_since=None, others=2),
        )
    )

    assert "New for this person: country, address\nAlso at this address: 1 other person\n" in new.plain()
    assert (new.body["alert"]["new"], new.body["alert"]["others"]) == (["country", "address"], 1)
    assert "New for this person: country (no earlier sign-in is known)\n" in first.plain()
    assert "this person" not in nothing.plain()
    assert "this address" not in nothing.plain()
    assert (nothing.body["alert"]["new"], nothing.body["alert"]["others"]) == ([], 0)


def test_oktas_new_device_behaviour_is_shown() -> None:
    """Okta's behaviour New Device is added to what sightings show, in messages and webhooks."""
    novelty = Novelty(new=("country",), known_since=NOW, others=0)
    message = COMPOSER.compose(structs.replace(due(), novelty=novelty))
    assert "New for this person: country, device\n" in message.plain()
    assert message.body["alert"]["new"] == ["country", "device"]


def test_a_decision_is_shown_with_its_author() -> None:
    """A message about a decision has the person, verdict and note as harmless text, and no runbook."""
    message = COMPOSER.compose(structs.replace(due(NotificationKind.CLOSED), content=ACTION))

    assert message.heading == (
        "[MEDIUM] Closed by eva: nora@example.com tried to sign in through ExampleVPN, Oslo (acme)"
    )
    assert message.plain().startswith(
        "By: eva\nAs: benign\nNote: travelling \u2039!channel\u203a\nWho: Nora Vale"
    )
    assert message.plain().endswith("Look: oktawatch alerts show 17\nReopen: oktawatch alerts reopen 17")
    assert (message.type, message.body["action"]) == ("alert.closed", ACTION)
    acknowledged = COMPOSER.compose(structs.replace(due(NotificationKind.ACKNOWLEDGED), content=ACTION))
    assert acknowledged.heading.startswith("[MEDIUM] Acknowledged by eva: nora@example.com tried")
    assert "Acknowledge:" not in acknowledged.plain()


def test_unknown_values_are_not_mentioned() -> None:
    """An alert without an address, a place, an outcome or a known rule is still a message."""
    nothing: dict[str, Any] = dict.fromkeys(
        ["actor_id", "actor_alternate_id", "actor_display_name", "client_ip", "country", "city", "as_number",
         "as_org", "outcome_result", "outcome_reason"]
    ) | {"failures": 0}  # fmt: skip
    message = COMPOSER.compose(due(**nothing, rule_id="Gone.Rule", context={"security_context": "broken"}))

    assert [line.label for line in message.lines] == [
        "What", "Who", "When", "Rule", "Org", "In Okta", "Look", "Acknowledge",
    ]  # fmt: skip
    assert message.heading == "[MEDIUM] somebody: Gone.Rule (acme)"


@pytest.mark.parametrize(
    ("tunnels", "rendered"),
    [
        ('[{"anonymous":true,"operator":"WARP_VPN","type":"VPN"}]', "VPN (WARP(ˍ)VPN)"),
        ('[{"operator":null,"type":"Tor"}]', "Tor"),
        ([{"anonymous": True, "operator": "WARP_VPN", "type": "VPN"}], "VPN (WARP_VPN)"),
        ('[{"anonymous":false,"operator":"ACME_GATEWAY","type":"VPN"}]', None),
        ("not json", None),
        ("[1, null]", None),
        (7, None),
    ],
)
def test_tunnels_are_read_from_json_text(tunnels: Any, rendered: str | None) -> None:
    """Tunnels are read from JSON text, and any other value is ignored."""
    message = COMPOSER.compose(due(context={"debug_context": {"debugData": {"tunnels": tunnels}}}))

    found = [line.text for line in message.lines if line.label == "Anonymizer"]
    assert found == ([rendered.replace("(ˍ)", "_")] if rendered else [])


TEXTS = ("title", "actor_display_name", "actor_alternate_id", "client_ip", "country", "city", "as_org", "outcome_result", "outcome_reason")  # fmt: skip


@given(hostile, st.lists(st.sampled_from(TEXTS), min_size=1, max_size=4))
def test_text_of_strangers_is_harmless(text: str, where: list[str]) -> None:
    """Text in an event can't add a link, mention, markup, line or flood to a message."""
    context = {
        "event_type": "user.session.start",
        "client": {"userAgent": {"rawUserAgent": text, "os": text, "browser": text}},
        "security_context": {
            "isProxy": True,
            "ipDetails": {"ipServiceCategories": [{"type": text, "operator": text}]},
            "risk": {"level": text},
            "userBehaviors": [{"name": text, "result": "POSITIVE"}],
        },
    }
    changes: dict[str, Any] = dict.fromkeys(where, text)
    message = COMPOSER.compose(due(**changes, context=context))
    plain, markdown, html = forms(message)
    usual = COMPOSER.compose(due())

    for rendered in (plain, markdown, html):
        assert rendered.replace("\n", "").isprintable()
        assert rendered.count("://") == 1
        assert not re.search(r"<[!@#]|@(everyone|here|channel)\b", rendered)
        assert len(rendered) < 5_000
    labels = [line.label for line in message.lines]
    assert plain.count("\n") == len(labels)
    assert markdown.count("\n\n") == len(labels) - 1
    assert markdown.count("](") == 1
    assert all(line.text.count("`") == 0 for line in message.lines)
    assert {line.label for line in usual.lines} >= set(labels)
    tags = Tags()
    tags.feed(html)
    assert {tag for tag, _ in tags.seen} == {"h1", "div", "p", "b", "a"}
    assert [attrs for _, attrs in tags.seen if attrs] == [[("href", message.body["alert"]["url"])]]


def test_a_test_message_is_marked() -> None:
    """A test message is marked as a test."""
    message = COMPOSER.compose(
        DueNotification(
            id="x", notifier="soc", kind=NotificationKind.TEST, severity=None, attempts=0, created_at=NOW
        )
    )

    assert message.heading == "[TEST] oktawatch"
    assert message.body["type"] == "test"
