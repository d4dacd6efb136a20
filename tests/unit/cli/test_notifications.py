"""`oktawatch notifications` lists, retries and drops notifications."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from rich.cells import cell_len

from oktawatch.cli.notification_table import print_notifications
from oktawatch.model.timestamps import to_text
from oktawatch.store.outbox import claim
from tests.support.databases import NOW, open_database
from tests.support.outbox import mark_failed, mark_sent, put, sign_in
from tests.support.places import Kind, place_of
from tests.unit.cli.conftest import Done

Call = Callable[..., Done]

HOSTILE = "status \x1b[31m418\x1b[0m \u202e\r\n[bold]"


@pytest.fixture
def ids(folder: Path) -> dict[str, str]:
    """Fill the outbox with a dead, a pending and a sent notification. Return their ids by state."""
    with place_of(Kind.SQLITE, folder) as place, open_database(place) as database:
        put(database, sign_in(1), sign_in(2), sign_in(3))
        dead, sent, pending = (claim(database, "soc", now=NOW, lease=timedelta(minutes=2)) for _ in range(3))
        assert dead and sent and pending  # noqa: PT018 -- for the type checker
        mark_failed(database, dead.id, error=HOSTILE, next_attempt_at=None, now=NOW)
        mark_sent(database, sent.id, now=NOW)
        mark_failed(database, pending.id, error="no", next_attempt_at=NOW + timedelta(hours=1), now=NOW)
        return {"dead": dead.id, "sent": sent.id, "pending": pending.id}


def test_list(call: Call, ids: dict[str, str]) -> None:
    """The list shows dead letters first, with errors and next attempts, and escapes control characters."""
    done = call("notifications", "list")

    heading, first, second = done.out.splitlines()
    assert done.code == 0
    assert heading.split() == [
        "ID", "UTC", "STATE", "NOTIFIER", "KIND", "ALERT", "TRIES", "NEXT", "TRY", "ORG", "ERROR",
    ]  # fmt: skip
    assert first.split()[:8] == [ids["dead"][:8], "11-02", "12:00", "dead", "soc", "opened", "1", "1"]
    assert "status" in first
    assert second.split() == [
        ids["pending"][:8], "11-02", "12:00", "pending", "soc", "opened", "3", "1", "11-02", "13:00", "acme", "no",
    ]  # fmt: skip
    assert all(letter.isprintable() for line in done.out.split("\n") for letter in line)
    assert "[bold]" in first


@pytest.mark.parametrize("width", [60, 80, 160])
def test_the_longest_values_fit_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """The widest values make no line wider than the terminal."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    short_id, longest = "0a4aa6ca", {
        "id": "0a4aa6ca-11ef-5163-9b45-cbeb08e1d777", "created_at": to_text(NOW), "state": "digested",
        "notifier": "security-operations", "kind": "silence", "alert_id": 123_456, "attempts": 12_345,
        "next_attempt_at": to_text(NOW), "org": "acme-production", "last_error": HOSTILE,
    }  # fmt: skip
    print_notifications([longest], {str(longest["id"]): short_id})
    heading, line = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()

    assert max(cell_len(heading), cell_len(line)) <= width
    assert line.startswith("0a4aa6ca 11-02 12:00 digested ")
    assert " silence 123456 " in line


@pytest.mark.usefixtures("ids")
@pytest.mark.parametrize("width", [60, 80, 160])
def test_the_list_fits_the_terminal(
    call: Call, monkeypatch: pytest.MonkeyPatch, ids: dict[str, str], width: int
) -> None:
    """Each line fits the terminal, with complete ids, times, states and kinds."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = re.sub(r"\x1b\[[0-9;]*m", "", call("notifications", "list").out)
    lines = out.splitlines()

    assert all(cell_len(line) <= width for line in lines)
    assert len(lines) == 3
    for line, state in zip(lines[1:], ("dead", "pending"), strict=True):
        assert line.startswith(f"{ids[state][:8]} 11-02 12:00 {state}")
        assert " soc " in line
        assert " opened " in line


def test_a_short_id_is_enough(call: Call, ids: dict[str, str]) -> None:
    """An id may be shortened to the listed length, and is case-insensitive."""
    done = call("notifications", "drop", ids["dead"][:8].upper(), ids["pending"][:13], ids["dead"])

    assert done == (0, "", f"dropped: {ids['dead']}, {ids['pending']}\n")


def test_a_shorter_id_is_refused(call: Call, ids: dict[str, str]) -> None:
    """A prefix of seven characters is refused, even if it is unique."""
    short = ids["dead"][:7]

    assert call("notifications", "drop", short) == (
        1, "", f"error: no such notification ({short}): see 'oktawatch notifications list'\n",
    )  # fmt: skip


@pytest.mark.usefixtures("ids")
@pytest.mark.parametrize(
    ("words", "states"),
    [
        ((), ["dead", "pending"]),
        (("--state", "sent"), ["sent"]),
        (("--state", "dead", "--notifier", "soc"), ["dead"]),
        (("--notifier", "pager"), []),
        (("--org", "acme", "--limit", "1"), ["dead"]),
        (("--org", "other"), []),
    ],
)
def test_filters(call: Call, words: tuple[str, ...], states: list[str]) -> None:
    """Each filter selects the described notifications, and filters combine."""
    assert [row["state"] for row in call("notifications", "list", *words, "--json").json] == states


@pytest.mark.usefixtures("ids")
def test_a_limit_that_hides_notifications_is_reported(call: Call) -> None:
    """If --limit hides notifications, standard error has the number of all notifications."""
    assert (
        call("notifications", "list", "--limit", "1").err
        == "showing 1 of 2 notifications: use --limit to show more\n"
    )
    assert call("notifications", "list", "--notifier", "pager").err == "no notifications\n"


def test_retry(call: Call, folder: Path, ids: dict[str, str]) -> None:
    """`retry` makes dead and pending notifications due now and reports them."""
    with (folder / "oktawatch.toml").open("a", encoding="utf-8") as file:
        file.write('[[notifiers]]\nname = "soc"\ntype = "log"\n')
    done = call("notifications", "retry", ids["dead"], ids["pending"], ids["dead"])

    assert done == (0, "", f"pending: {ids['dead']}, {ids['pending']}\n")
    found = call("notifications", "list", "--json").json
    assert [(row["state"], row["next_attempt_at"] == row["retried_at"]) for row in found] == [
        ("pending", True)
    ] * 2


def test_retry_for_a_removed_notifier(call: Call, ids: dict[str, str]) -> None:
    """Retrying a notification for a removed notifier prints a warning."""
    assert call("notifications", "retry", ids["dead"]).err.splitlines() == [
        "warning: no notifier is named soc in this configuration: its notifications will not be sent",
        f"pending: {ids['dead']}",
    ]


def test_drop(call: Call, ids: dict[str, str]) -> None:
    """`drop` drops the notification, keeps its alert, and can print JSON."""
    done = call("notifications", "drop", ids["dead"], "--json")

    assert [(row["id"], row["state"]) for row in done.json] == [(ids["dead"], "dropped")]
    assert len(call("alerts", "list", "--json").json) == 3


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_a_refused_id_changes_nothing(call: Call, ids: dict[str, str], command: str) -> None:
    """An unknown or already sent notification is an error in one line with exit 1, and no notification changes."""
    action = {"retry": "sent again", "drop": "dropped"}[command]

    assert call("notifications", command, ids["dead"], "x\x1b[31m") == (
        1, "", "error: no such notification (x\\u001b[31m): see 'oktawatch notifications list'\n",
    )  # fmt: skip
    assert call("notifications", command, ids["dead"], ids["sent"]) == (
        1, "", f"error: the notification is sent ({ids['sent']}): only a pending or dead one can be {action}\n",
    )  # fmt: skip
    assert [row["state"] for row in call("notifications", "list", "--json").json] == ["dead", "pending"]


def test_status_counts_notifications_without_an_org(call: Call, folder: Path, ids: dict[str, str]) -> None:
    """`status` also counts dead digests and alarms, which belong to no org."""
    with place_of(Kind.SQLITE, folder) as place:
        place.run(f"UPDATE notifications SET alert_id = NULL WHERE id = '{ids['dead']}'")  # noqa: S608 -- our own
    done, document = call("status"), call("status", "--json").json

    assert document["notifications"] == {"pending": 1, "dead": 1}
    assert "1 dead letter: 'oktawatch notifications list' shows it\n" in done.err
