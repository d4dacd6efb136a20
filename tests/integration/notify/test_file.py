"""The file channel: complete lines, whatever happens to the file and the disk."""

import asyncio
import json
import os
import resource
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from oktawatch.config import load
from oktawatch.model.notification import Digest, DigestReason, NotificationKind
from oktawatch.notify import file
from oktawatch.notify.channel import DeliveryError
from oktawatch.notify.file import FileChannel, FileSettings
from oktawatch.notify.message import Message
from oktawatch.service import check
from oktawatch.service.app import Application
from oktawatch.service.check import Verdict
from tests.support.databases import NOW
from tests.support.messages import due
from tests.support.ocsf import validated
from tests.support.outbox import COMPOSER
from tests.support.program import PATIENCE
from tests.unit.formats.alerts import ALERT


def message(number: int = 1, kind: NotificationKind = NotificationKind.OPENED, **changes: Any) -> Message:
    """Compose a message about an alert."""
    columns = {
        name: value for name, value in ALERT.items() if name not in ("events", "url", "rule_name", "mitre")
    }
    notification = due(kind, **columns | {"status": "open", "disposition": None} | changes)
    return COMPOSER.compose(msgspec.structs.replace(notification, id=f"id-{number}", incident="incident-1"))


def channel(path: Path, **settings: Any) -> FileChannel:
    """Return a channel that writes to a path."""
    return FileChannel(FileSettings(type="file", path=path, **settings), now=lambda: NOW)


def send(writer: FileChannel, sent: Message) -> None:
    """Send a message in an event loop of its own."""
    asyncio.run(writer.send(sent))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the file."""
    return tmp_path / "alerts.ndjson"


def documents(path: Path) -> list[dict[str, Any]]:
    """Return the documents of a file whose last line is complete."""
    text = path.read_text("ascii")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_a_file_in_ecs_has_a_line_for_each_message(path: Path) -> None:
    """Each message is a line with the idempotency key, in a file that the owner's group can read."""
    writer = channel(path)
    send(writer, message())
    send(writer, message(2, NotificationKind.RAISED, severity="HIGH"))
    first, second = documents(path)
    assert (first["event"]["id"], first["event"]["severity"]) == ("id-1", 3)
    assert (second["event"]["id"], second["event"]["severity"]) == ("id-2", 4)
    assert first["oktawatch"]["alert"]["incident"] == "incident-1"
    assert second["oktawatch"]["alert"]["notification"] == "alert.raised"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_file_in_ocsf_has_the_activity_of_each_message(path: Path) -> None:
    """The activity says whether the alert was opened, changed or closed, and other messages are Base Events."""
    writer = channel(path, format="ocsf")
    for number, kind in enumerate(
        (NotificationKind.OPENED, NotificationKind.RAISED, NotificationKind.CLOSED)
    ):
        send(writer, message(number, kind))
    send(writer, COMPOSER.compose(msgspec.structs.replace(due(NotificationKind.TEST), alert=None)))
    found = [validated(document) for document in documents(path)]
    assert [document["type_uid"] for document in found] == [200401, 200402, 200403, 99]
    assert found[3]["time"] == int(NOW.timestamp() * 1000)


DIGEST = Digest(
    reason=DigestReason.LATE, source=None, alerts=2, people=2, severities={"HIGH": 2}, rules={"A": 2}, orgs={"acme": 2},
    who={"nora@example.com": 2}, addresses={"203.0.113.7": 2}, countries={}, first_event_at=NOW, last_event_at=NOW,
)  # fmt: skip
SILENCE = {
    "state": "raised", "about": [{"what": "org", "name": "acme", "since": "2026-11-02T12:00:00.000Z", "error": "x"}],
}  # fmt: skip


@pytest.mark.parametrize("format_", ["ecs", "ocsf"])
@pytest.mark.parametrize(
    "changes",
    [
        {"kind": NotificationKind.TEST},
        {"kind": NotificationKind.DIGEST, "digest": DIGEST},
        {"kind": NotificationKind.SILENCE, "content": SILENCE},
    ],
    ids=["test", "digest", "silence"],
)
def test_every_kind_of_message_is_a_line(path: Path, format_: str, changes: dict[str, Any]) -> None:
    """Every kind of message is a line with its type and content."""
    sent = COMPOSER.compose(msgspec.structs.replace(due(), alert=None, **changes))
    send(channel(path, format=format_), sent)
    (document,) = documents(path)
    if format_ == "ocsf":
        assert validated(document)["activity_name"] == sent.type
        content = document["unmapped"]
    else:
        assert (document["event"]["action"], document["event"]["id"]) == (sent.type, sent.id)
        content = document["oktawatch"]["message"]
    assert content["type"] == sent.type
    assert document["message"] == sent.heading


def test_a_rotated_file_is_created_again(path: Path) -> None:
    """After logrotate has renamed, deleted or replaced the file, lines go to the path again."""
    writer = channel(path)
    send(writer, message(1))
    path.rename(path.with_suffix(".1"))
    send(writer, message(2))
    path.unlink()
    send(writer, message(3))
    path.unlink()
    path.touch(mode=0o600)
    send(writer, message(4))
    assert [one["event"]["id"] for one in documents(path.with_suffix(".1"))] == ["id-1"]
    assert [one["event"]["id"] for one in documents(path)] == ["id-4"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600, "the mode of an existing file is its administrator's"


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Limit the size of files to 1 KB: a write beyond it is cut, and the next one fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("small_disk")
def test_a_partial_line_does_not_damage_the_next_line(path: Path) -> None:
    """A full disk is a failure that is retried, and the retried line is complete."""
    path.write_text(f"{'x' * 1000}\n", "ascii")
    writer = channel(path)
    for _ in range(2):
        with pytest.raises(DeliveryError, match="can't be written: ") as caught:
            send(writer, message())
        assert not caught.value.final
    assert path.stat().st_size == 1024
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits[1], limits[1]))
    send(writer, message())
    *_, cut, whole = path.read_text("ascii").splitlines()
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(cut)
    assert json.loads(whole)["event"]["id"] == "id-1"


def test_a_missing_folder_is_retried(path: Path) -> None:
    """An unmounted disk is a failure that ends when it is mounted again."""
    inner = path.parent / "siem" / "alerts.ndjson"
    writer = channel(inner)
    with pytest.raises(DeliveryError, match="no such file or directory") as caught:
        send(writer, message())
    assert not caught.value.final
    inner.parent.mkdir()
    send(writer, message())
    assert len(documents(inner)) == 1


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_a_folder_or_a_pipe_without_a_reader_is_refused(path: Path, kind: str) -> None:
    """Neither a folder nor a pipe without a reader blocks the daemon."""
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(DeliveryError, match=r"is a directory|it is not a regular file"):
        send(channel(path), message())


def test_a_hanging_file_system_does_not_block_cancellation(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message can be cancelled, and no second write begins before the first one has ended."""
    reading, writing = os.pipe()
    append = file._append

    def hang(to: Path, line: bytes) -> None:
        os.read(reading, 1)
        append(to, line)

    monkeypatch.setattr(file, "_append", hang)
    writer = channel(path)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(writer.send(message(1)), 0.01))
    with pytest.raises(DeliveryError, match="the previous write has not ended"):
        send(writer, message(2))
    os.write(writing, b"xx")
    assert writer._write is not None
    writer._write.result(PATIENCE)
    send(writer, message(2))
    assert [one["event"]["id"] for one in documents(path)] == ["id-1", "id-2"]
    os.close(reading)
    os.close(writing)


def test_check_finds_problems(path: Path) -> None:
    """`oktawatch check` finds a wrong path before the first alert does, and creates nothing."""
    assert channel(path).find_problem() is None
    assert not path.exists()
    inner = path.parent / "siem" / "alerts.ndjson"
    assert (
        channel(inner).find_problem()
        == f"there is no folder {inner.parent}: create it for the user of oktawatch"
    )
    assert channel(path.parent).find_problem() == f"{path.parent} is not a regular file: choose another path"
    path.touch()
    assert channel(path).find_problem() is None


def test_check_finds_missing_permissions(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a file nor a folder that this user can't write is accepted."""
    asked: list[tuple[Path, int]] = []

    def refuse(asked_path: Path, mode: int) -> bool:
        asked.append((asked_path, mode))
        return False

    monkeypatch.setattr(os, "access", refuse)  # tests may run as root, who may do everything
    message = f"this user can't write {path}: change its owner or that of its folder"
    assert channel(path).find_problem() == message
    path.touch()
    assert channel(path).find_problem() == message
    assert asked == [(path.parent, os.W_OK | os.X_OK), (path, os.R_OK | os.W_OK)]


@pytest.mark.parametrize("name", [f"{'x' * 300}.ndjson", f"{'x' * 300}/alerts.ndjson"])
def test_check_finds_a_path_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    """A path that the operating system refuses, as for a folder that can't be searched, is a finding and no exception."""
    path = tmp_path / name
    assert channel(path).find_problem() == (
        f"{path} can't be opened (File name too long): permit this user to search its folder, or choose another path"
    )


async def test_check_reports_a_file(tmp_path: Path) -> None:
    """The finding names the notifier, and fails if its folder is missing."""
    (tmp_path / "oktawatch.toml").write_text(
        '[[notifiers]]\ntype = "file"\nname = "good"\npath = "a.ndjson"\n'
        '[[notifiers]]\ntype = "file"\nname = "bad"\npath = "siem/a.ndjson"\n'
        '[[orgs]]\nurl = "https://acme.example.com"\ntoken = "t"\n',
        "utf-8",
    )
    app = Application(load(tmp_path / "oktawatch.toml"))
    good, bad = await check._notifiers(app, send_test=False)
    assert (good.about, good.verdict, good.message) == (
        "notifier good",
        Verdict.OK,
        "its file can be written",
    )
    assert (bad.about, bad.verdict) == ("notifier bad", Verdict.FAILED)


def test_a_path_is_relative_to_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon's working directory doesn't matter, as for every path."""
    (tmp_path / "oktawatch.toml").write_text(
        '[[notifiers]]\ntype = "file"\npath = "siem/alerts.ndjson"\n[[orgs]]\nurl = "https://acme.example.com"\ntoken = "t"\n',
        "utf-8",
    )
    monkeypatch.chdir("/")
    (notifier,) = load(tmp_path / "oktawatch.toml").notifiers
    assert isinstance(notifier, FileSettings)
    assert notifier.path == tmp_path / "siem" / "alerts.ndjson"
    assert notifier.max_per_minute is None
