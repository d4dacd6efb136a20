"""An alarm about oktawatch itself names the subject, the time, the reason and what to check, and is safe to display."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.model.notification import DueNotification, NotificationKind
from oktawatch.model.severity import Severity
from oktawatch.notify.message import Message
from tests.support.databases import NOW
from tests.support.hostile_text import hostile
from tests.support.messages import Tags, forms
from tests.support.outbox import COMPOSER

SINCE, UNTIL = "2026-11-02T09:45:30.000Z", "2026-11-02T12:00:00.000Z"
REFUSED = {"since": SINCE, "error": "Okta refuses the token"}
RECOVERED = {"since": SINCE, "until": UNTIL}


def alarm(state: str, *about: dict[str, Any]) -> Message:
    """Compose the message of an outbox row."""
    return COMPOSER.compose(
        DueNotification(
            id="00000000-0000-4000-8000-000000000001",
            notifier="soc",
            kind=NotificationKind.SILENCE,
            severity=None,
            attempts=0,
            created_at=NOW,
            content={"state": state, "about": list(about)},
        )
    )


def org(name: str = "acme", **more: Any) -> dict[str, Any]:
    """Return an org as the subject of an alarm."""
    return {"what": "org", "name": name, **more}


def notifier(name: str = "pager", **more: Any) -> dict[str, Any]:
    """Return a notifier as the subject of an alarm."""
    return {"what": "notifier", "name": name, **more}


@pytest.mark.parametrize("form", [0, 1, 2])
def test_an_alarm_about_an_org_is_complete(form: int) -> None:
    """The alarm has the start, the reason, what to check and a command, and its severity is HIGH."""
    message = alarm("raised", org(**REFUSED))
    rendered = forms(message)[form]

    assert message.severity is Severity.HIGH
    for part in (
        "[ALARM] acme has not been polled since 2026-11-02 09:45 UTC",
        "Okta refuses the token",
        "token",
        "polling continues where it stopped",
        "oktawatch status",
    ):
        assert part in rendered
    assert "test" not in rendered.lower()


@pytest.mark.parametrize("form", [0, 1, 2])
def test_the_end_of_an_alarm_has_the_duration(form: int) -> None:
    """The message about the end says how long the org was not polled, and has no severity."""
    message = alarm("over", org(**RECOVERED))
    rendered = forms(message)[form]

    assert message.severity is None
    assert "[OVER] acme is polled again after 2 h 14 min" in rendered
    assert "from 2026-11-02 09:45 UTC to 2026-11-02 12:00 UTC" in rendered


@pytest.mark.parametrize("form", [0, 1, 2])
def test_an_alarm_names_the_failing_notifier(form: int) -> None:
    """The alarm names the notifier, the reason, and the command that lists its messages."""
    raised = forms(alarm("raised", notifier(since=SINCE, error="status 410")))[form]
    over = forms(alarm("over", notifier(**RECOVERED)))[form]

    assert "[ALARM] Notifier pager has been unable to deliver since 2026-11-02 09:45 UTC" in raised
    assert "status 410" in raised
    assert "oktawatch notifications list --notifier pager" in raised
    assert "[OVER] Notifier pager can deliver again after 2 h 14 min" in over
    assert "oktawatch notifications list --notifier pager --state dead" in over


def test_the_body_has_all_fields_of_the_alarm() -> None:
    """A webhook gets all fields of the alarm, with a message type for each state."""
    about = [org(**REFUSED), org("globex", **REFUSED)]

    assert alarm("raised", *about).body == {"type": "silence.raised", "silence": {"about": about}}
    assert alarm("over", org(**RECOVERED)).body == {
        "type": "silence.over",
        "silence": {"about": [org(**RECOVERED)]},
    }
    assert alarm("raised", *about).type == "silence.raised"


def test_a_message_names_a_few_of_many_subjects() -> None:
    """A message for people names a few of many subjects, and its body for programs has all of them."""
    message = alarm("raised", *(org(f"org{n}", **REFUSED) for n in range(200)), notifier(**REFUSED))

    assert message.heading == (
        "[ALARM] 200 orgs can't be polled: org0, org1, org2 and 197 more;"
        " Notifier pager has been unable to deliver since 2026-11-02 09:45 UTC"
    )
    assert len(message.plain()) < 3_000
    assert "More: 190 more" in message.plain()
    assert len(message.body["silence"]["about"]) == 201


@pytest.mark.parametrize(
    ("until", "rendered"),
    [
        ("2026-11-02T09:45:59.000Z", "less than a minute"),
        ("2026-11-02T10:10:31.000Z", "25 min"),
        ("2026-11-05T12:00:00.000Z", "3 d 2 h"),
    ],
)
def test_a_duration_is_shown_in_two_units(until: str, rendered: str) -> None:
    """A duration is shown in days and hours, in hours and minutes, or in minutes."""
    heading = alarm("over", org(since=SINCE, until=until)).heading

    assert heading == f"[OVER] acme is polled again after {rendered}"


def test_an_alarm_of_an_older_version_has_no_start() -> None:
    """An alarm of an older version has no start time."""
    message = alarm("over", org(until=UNTIL))

    assert message.heading == "[OVER] acme is polled again"
    assert message.plain() == "Org: acme: until 2026-11-02 12:00 UTC"


@given(hostile, hostile, st.sampled_from(["org", "notifier"]), st.sampled_from(["raised", "over"]))
def test_text_of_strangers_in_an_alarm_is_harmless(name: str, error: str, what: str, state: str) -> None:
    """Text in an alarm can't add a link, mention, markup or line."""
    message = alarm(state, {"what": what, "name": name, "since": SINCE, "until": UNTIL, "error": error})
    plain, markdown, html = forms(message)

    for rendered in (plain, markdown, html):
        assert rendered.replace("\n", "").isprintable()
        assert "://" not in rendered
        assert not re.search(r"<[!@#]|@(everyone|here|channel)\b", rendered)
        assert len(rendered) < 3_000
    assert plain.count("\n") == len(message.lines)
    assert markdown.count("](") == 0
    assert all("`" not in line.text for line in message.lines)
    tags = Tags()
    tags.feed(html)
    assert {tag for tag, _ in tags.seen} == {"h1", "div", "p", "b"}
    assert [attrs for _, attrs in tags.seen if attrs] == []


def test_an_alarm_about_an_unwritable_database_has_its_start() -> None:
    """The alarm says since when, and that polling continues where it stopped."""
    database = {"what": "database", "name": "/var/lib/oktawatch/oktawatch.db", "since": SINCE}
    raised = alarm("raised", database | {"error": "the disk is full"})
    over = alarm("over", database | {"until": UNTIL})

    assert (
        raised.heading
        == "[ALARM] oktawatch has been unable to write to its database since 2026-11-02 09:45 UTC"
    )
    assert "polling continues where it stopped" in raised.plain()
    assert over.heading == "[OVER] oktawatch can write to its database again after 2 h 14 min"


def test_an_alarm_about_a_damaged_database_says_how_to_restore_it() -> None:
    """The alarm about a damaged database says how to restore it, and doesn't claim that no event is lost."""
    lost = {
        "what": "database",
        "name": "oktawatch.db",
        "since": SINCE,
        "error": "it is damaged",
        "lost": True,
    }
    message = alarm("raised", lost)

    assert message.heading.startswith("[ALARM] oktawatch has stopped: its database is damaged")
    assert "No event is lost" not in message.plain()
    for part in ("it is damaged", "Restore a backup", "oktawatch backfill"):
        assert part in message.plain()


def test_the_heading_counts_several_notifiers() -> None:
    """The heading counts and names several notifiers."""
    names = [notifier(name, **RECOVERED, error="no") for name in ("pager", "mail")]

    assert alarm("raised", *names).heading == "[ALARM] 2 notifiers can't deliver: pager, mail"
    assert alarm("over", *names).heading == "[OVER] 2 notifiers can deliver again: pager, mail"


@pytest.mark.parametrize("form", [0, 1, 2])
def test_an_alarm_names_the_skipped_rule(form: int) -> None:
    """The alarm names the rule, org, event and reason, what to check and where to look."""
    about = {
        "what": "rule",
        "name": "Acme.Slow",
        "org": "acme",
        "event_uuid": "e-1",
        "error": "it froze oktawatch",
    }
    rendered = forms(alarm("raised", about))[form]

    for part in (
        "[ALARM] Rule Acme.Slow was skipped for some events of acme: it froze oktawatch",
        "Acme.Slow: it froze oktawatch",
        "e-1 of acme",
        "a regular expression that backtracks",
        "oktawatch status",
    ):
        assert part in rendered


def test_an_alarm_names_the_share_of_unusable_events() -> None:
    """The alarm names the org, the share of unusable events, and the table that keeps them."""
    about = {"what": "events", "name": "acme", "since": SINCE}
    share = "50% of the events polled lately can't be used"
    raised, over = alarm("raised", about | {"error": share}), alarm("over", about | {"until": UNTIL})
    assert raised.heading == "[ALARM] Events of acme can't be used"
    assert over.heading == "[OVER] Events of acme can be used again"
    text = " ".join(line.text for line in raised.lines)
    assert share in text
    assert "rejected_events" in text
