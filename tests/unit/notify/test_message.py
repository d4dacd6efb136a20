"""A message says what somebody needs who was woken up for it, and nothing that a stranger could make it say."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from oktawatch.model.notification import DueNotification, EventReference, NotificationKind
from oktawatch.model.severity import Severity
from oktawatch.notify.composer import Composer, RuleText
from oktawatch.notify.message import Message
from tests.support.databases import NOW
from tests.support.outbox import COMPOSER
from tests.unit.notify.test_text import hostile

ALERT: dict[str, Any] = {
    "id": 17, "org": "acme", "rule_id": "Okta.Anonymizing.VPN.Login", "severity": "MEDIUM", "status": "open",
    "title": "Nora Vale <nora@example.com> tried to sign in from an anonymizing proxy - IP=203.0.113.7",
    "actor_id": "00u1", "actor_alternate_id": "nora@example.com", "actor_display_name": "Nora Vale",
    "client_ip": "203.0.113.7", "country": "Norway", "city": "Oslo", "as_number": 64500, "as_org": "Example Net",
    "isp": None, "domain": None, "outcome_result": "FAILURE", "outcome_reason": "INVALID_CREDENTIALS",
    "event_count": 3, "first_event_at": "2026-11-02T12:00:00.000Z", "last_event_at": "2026-11-02T12:05:30.000Z",
    "context": {"security_context": {"ipDetails": {"ipServiceCategories": [{"type": "VPN", "operator": "EXAMPLE_VPN"}]}}},
}  # fmt: skip


def due(kind: NotificationKind = NotificationKind.OPENED, **changes: Any) -> DueNotification:
    """Give the notification of an alert."""
    return DueNotification(
        id="00000000-0000-5000-8000-000000000001",
        notifier="soc",
        kind=kind,
        severity=Severity.MEDIUM,
        attempts=0,
        created_at=NOW,
        alert=ALERT | changes,
        event=EventReference("00000000-0000-4000-8000-000000000001", NOW),
    )


def forms(message: Message) -> tuple[str, str, str]:
    """Give the three forms, headings with them."""
    return (
        f"{message.heading}\n{message.plain()}",
        f"{message.heading}\n{message.markdown()}",
        f"<h1>{message.heading}</h1>\n{message.html()}",
    )


@pytest.mark.parametrize("form", [0, 1, 2])
def test_it_says_everything(form: int) -> None:
    """Severity, title, who, where from, what kind of anonymizer, when, outcome, count, what to do and how."""
    said = forms(COMPOSER.compose(due()))[form]

    for part in (
        "[MEDIUM] Okta Sign-In from VPN Anonymizer in acme",
        "tried to sign in from an anonymizing proxy - IP=203.0.113.7",
        "Nora Vale (nora@example.com)",
        "203.0.113.7 · Oslo, Norway · AS64500 Example Net",
        "VPN (EXAMPLE_VPN)",
        "2026-11-02 12:00:00 to 2026-11-02 12:05:30 UTC",
        "FAILURE: INVALID_CREDENTIALS",
        "3",
        "Ask the user",
        "oktawatch alerts ack 17",
        "https://acme-admin.okta.com/report/system_log_2?search=uuid%20eq%20%22",
    ):
        assert part in said


def test_a_long_runbook_is_cut() -> None:
    """An operator's rule may bring a book, with many lines: a message takes its beginning, whole words in one line."""
    composer = Composer(orgs={}, rules={ALERT["rule_id"]: RuleText("Own", "Call Zoë.\n\nThen wait. " * 500)})
    message = composer.compose(due())

    (said,) = [line.text for line in message.lines if line.label == "What to do"]
    assert said.startswith("Call Zoë. Then wait. Call Zoë.")
    assert said.endswith((". …", "Then …", "Call …"))
    assert 590 < len(said) <= 600
    assert message.body["runbook"] == said


def test_a_program_gets_the_runbook_too() -> None:
    """Beside the alert's row, which has no such column; of a rule that is gone nobody knows any."""
    assert "Ask the user" in COMPOSER.compose(due()).body["runbook"]
    assert COMPOSER.compose(due(rule_id="Gone.Rule")).body["runbook"] == ""


def test_nothing_goes_out_in_the_words_of_a_test() -> None:
    """A row that has nothing to say is an error, never a message that says that nothing has happened."""
    with pytest.raises(ValueError, match="of kind silence"):
        COMPOSER.compose(structs.replace(due(NotificationKind.SILENCE), alert=None, event=None))


def test_what_became_worse_says_so() -> None:
    """A receiver that heard of the alert sees why it hears of it again."""
    message = COMPOSER.compose(due(NotificationKind.RAISED, severity="HIGH"))

    assert message.heading == "[HIGH] Okta Sign-In from VPN Anonymizer (became worse) in acme"
    assert (message.type, message.severity) == ("alert.raised", Severity.HIGH)


def test_what_is_unknown_is_not_mentioned() -> None:
    """An alert without an address, a place, an outcome or a known rule is still a message."""
    nothing: dict[str, Any] = dict.fromkeys(
        ["actor_id", "actor_alternate_id", "actor_display_name", "client_ip", "country", "city", "as_number",
         "as_org", "outcome_result", "outcome_reason"]
    )  # fmt: skip
    message = COMPOSER.compose(due(**nothing, rule_id="Gone.Rule", context={"security_context": "broken"}))

    assert [line.label for line in message.lines] == [
        "What", "Severity", "Who", "When", "Events", "Org", "Acknowledge", "In Okta",
    ]  # fmt: skip
    assert message.heading == "[MEDIUM] Gone.Rule in acme"


@pytest.mark.parametrize(
    ("tunnels", "said"),
    [
        ('[{"anonymous":true,"operator":"WARP_VPN","type":"VPN"}]', "VPN (WARP(ˍ)VPN)"),
        ('[{"operator":null,"type":"Tor"}]', "Tor"),
        ("not json", None),
        ("[1, null]", None),
        (7, None),
    ],
)
def test_tunnels(tunnels: Any, said: str | None) -> None:
    """What Okta calls tunnels is a string with JSON in it, or anything else."""
    message = COMPOSER.compose(due(context={"debug_context": {"debugData": {"tunnels": tunnels}}}))

    found = [line.text for line in message.lines if line.label == "Anonymizer"]
    assert found == ([said.replace("(ˍ)", "_")] if said else [])


class Tags(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it."""
        self.seen.append((tag, attrs))


TEXTS = ("title", "actor_display_name", "actor_alternate_id", "client_ip", "country", "city", "as_org", "outcome_result", "outcome_reason")  # fmt: skip


@given(hostile, st.lists(st.sampled_from(TEXTS), min_size=1, max_size=4))
def test_a_stranger_can_make_it_say_nothing(text: str, where: list[str]) -> None:
    """Whatever an event holds, wherever: one link, ours; no mention, no markup, no line of its own, no flood."""
    context = {"security_context": {"ipDetails": {"ipServiceCategories": [{"type": text, "operator": text}]}}}
    changes: dict[str, Any] = dict.fromkeys(where, text)
    message = COMPOSER.compose(due(**changes, context=context))
    plain, markdown, html = forms(message)
    usual = COMPOSER.compose(due())

    for said in (plain, markdown, html):
        assert said.replace("\n", "").isprintable()
        assert said.count("://") == 1
        assert not re.search(r"<[!@#]|@(everyone|here|channel)\b", said)
        assert len(said) < 5_000
    labels = [line.label for line in message.lines]
    assert plain.count("\n") == len(labels)
    assert markdown.count("\n\n") == len(labels) - 1
    assert markdown.count("](") == 1
    assert all(line.text.count("`") == 0 for line in message.lines)
    assert {line.label for line in usual.lines} >= set(labels) - {"Who"}
    tags = Tags()
    tags.feed(html)
    assert {tag for tag, _ in tags.seen} == {"h1", "div", "p", "b", "a"}
    assert [attrs for _, attrs in tags.seen if attrs] == [[("href", message.lines[-1].link)]]


def test_a_test_message_says_that_it_is_one() -> None:
    """Nobody is to be alarmed by it."""
    message = COMPOSER.compose(
        DueNotification(
            id="x", notifier="soc", kind=NotificationKind.TEST, severity=None, attempts=0, created_at=NOW
        )
    )

    assert message.heading == "[TEST] oktawatch"
    assert message.body["type"] == "test"
