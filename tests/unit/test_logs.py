"""The log has one line per event, no control sequences and no secrets."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from oktawatch import logs
from oktawatch.model.severity import Severity

NOW = datetime(2026, 11, 24, 8, 0, 0, 123_456, tzinfo=UTC)
LIBRARIES = ("", "okta-sdk-python", *logs.QUIET)


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore structlog, logging and the secrets after each test."""
    monkeypatch.setattr(logs, "_secrets", logs._Secrets())
    monkeypatch.delenv("NO_COLOR", raising=False)
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    before = [(one, one.level, one.handlers[:], one.propagate, one.disabled) for one in loggers]
    yield
    structlog.reset_defaults()
    for one, level, handlers, propagate, disabled in before:
        one.setLevel(level)
        one.handlers, one.propagate, one.disabled = handlers, propagate, disabled


def written(log_format: Any, event: str, *, level: str = "info", **values: Any) -> str:
    """Log one event, and return the written text."""
    stream = io.StringIO()
    logs.configure(log_format, level, stream)
    with time_machine.travel(NOW, tick=False):
        structlog.get_logger().info(event, **values)
    return stream.getvalue()


def test_a_json_line_has_time_level_event_and_values() -> None:
    """Each line is a JSON object with the time in UTC."""
    line = written("json", "page_committed", org="acme", events=1000)
    assert line.endswith("}\n")
    assert json.loads(line) == {
        "timestamp": "2026-11-24T08:00:00.123Z",
        "level": "info",
        "event": "page_committed",
        "org": "acme",
        "events": 1000,
    }


def test_a_console_line_has_keys_and_values() -> None:
    """Values with spaces or special characters are quoted, so that they can't imitate another key."""
    line = written("console", "page_committed", org="acme", new=998, title='a "b" c', forged="x alerts=0")
    assert line == (
        "2026-11-24T08:00:00.123Z info     page_committed"
        ' org=acme new=998 title="a \\"b\\" c" forged="x alerts=0"\n'
    )


def test_auto_is_console_only_on_a_terminal() -> None:
    """The format ``auto`` is JSON, but console on a terminal."""
    assert written("auto", "started").startswith("{")
    terminal = Terminal()
    logs.configure("auto", "info", terminal)
    structlog.get_logger().info("started")
    assert " info     started\n" in terminal.getvalue()


def test_only_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a terminal without NO_COLOR gets colours."""
    for stream, coloured in ((Terminal(), True), (io.StringIO(), False)):
        logs.configure("console", "info", stream)
        structlog.get_logger().warning("late")
        assert ("\x1b[33m" in stream.getvalue()) is coloured
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    logs.configure("console", "info", terminal)
    structlog.get_logger().warning("late")
    assert "\x1b" not in terminal.getvalue()


def test_lower_levels_are_not_logged() -> None:
    """Events below the configured level are not logged."""
    assert written("json", "started", level="warning") == ""
    assert written("json", "started", level="debug") != ""


STRANGE = st.text(st.characters(codec=None), max_size=60)  # lone surrogates included


@given(value=STRANGE, key=STRANGE, log_format=st.sampled_from(["json", "console"]))
def test_any_text_is_logged_as_one_printable_line(value: str, key: str, log_format: str) -> None:
    """Control characters, escape codes, line separators, direction marks and surrogates are escaped."""
    line = written(
        log_format, "alert_opened", title=value, nested={"a": [value]}, **dict[str, Any]({f"k{key}": 1})
    )
    assert line[-1] == "\n"
    assert line[:-1].isprintable()
    if log_format == "json":
        assert json.loads(line)["title"] == value


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize(
    "letter", ["\x1b", "\x07", "\x7f", "\x9b", "\n", "\r", "\u2028", "\u202e", "\u2066", "\ud800"]
)
def test_control_characters_in_event_names_are_escaped(log_format: str, letter: str) -> None:
    """Control characters in the name of a log event are escaped, too."""
    line = written(log_format, f"a{letter}b", who=f"a{letter}b")
    assert letter not in line[:-1]
    assert line.count("\n") == 1


def test_a_stream_without_unicode_gets_escapes(tmp_path: Path) -> None:
    """Characters that the stream's encoding lacks are escaped."""
    file = tmp_path / "log"
    with file.open("w", encoding="ascii") as stream:
        logs.configure("json", "info", stream)
        structlog.get_logger().info("alert_opened", who="Zoë 🦊 \ud800")
    assert json.loads(file.read_text("ascii").replace("\\x", "\\u00").replace("\\U0001f98a", "fox"))[
        "who"
    ] == ("Zoë fox \ud800")


class Unprintable:
    """A value whose repr fails."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Severity.HIGH, "HIGH"),
        (timedelta(hours=6), "6h"),
        (NOW, "2026-11-24T08:00:00.123Z"),
        (Path("a/b"), "a/b"),
        ({1: (None, True, 1.5)}, {"1": [None, True, 1.5]}),
        (float("nan"), "nan"),
        (b"\xff", "b'\\xff'"),
        (Unprintable(), "<Unprintable>"),
    ],
)
def test_any_value_can_be_logged(value: object, shown: object) -> None:
    """Any value is logged in a readable form and as valid JSON."""
    assert json.loads(written("json", "tried", value=value))["value"] == shown


def test_a_huge_value_is_cut() -> None:
    """A huge text, number or nested list is cut, so that a stranger can't fill the journal."""
    nested: list[Any] = []
    for _ in range(500):
        nested = [nested]
    line = written("json", "tried", text="x" * 10**6, number=10**5000, nested=nested)
    assert len(line) < 4 * logs.LONGEST_VALUE


def test_a_value_can_have_the_name_of_a_built_in_key() -> None:
    """A value with the name of a built-in key does not replace it."""
    line = json.loads(written("json", "tried", timestamp="never"))
    assert (line["timestamp"], line["timestamp_"]) == ("2026-11-24T08:00:00.123Z", "never")


def _raise(text: str) -> None:
    raise ValueError(text)


def _fail(stream: io.StringIO, log_format: Any, level: str) -> str:
    logs.configure(log_format, level, stream)
    try:
        _raise("broken\nin two")
    except ValueError:
        structlog.get_logger().exception("poll_failed", org="acme")
    return stream.getvalue()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_exception_is_one_line(log_format: str) -> None:
    """An exception is one line, and its traceback is shown only at level debug."""
    text = _fail(io.StringIO(), log_format, "info")
    assert text.count("\n") == 1
    assert "ValueError: broken\\nin two" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_debug_adds_the_traceback(log_format: str) -> None:
    """At level debug, the traceback is in the JSON object, or indented below the console line."""
    text = _fail(io.StringIO(), log_format, "debug")
    assert "Traceback (most recent call last)" in text
    assert text.count("\n") == 1 if log_format == "json" else "\n    Traceback" in text


def test_an_explicit_error_text_is_kept() -> None:
    """An explicit value of ``error`` is not replaced by the exception's text."""
    error = ValueError("internal")
    line = json.loads(written("json", "poll_failed", error="Okta refuses the token", exc_info=error))
    assert line["error"] == "Okta refuses the token"


SECRETS = st.text(min_size=4, max_size=60).map(str.strip).filter(lambda secret: len(secret) >= 4)


@given(secret=SECRETS, before=st.text(max_size=5), log_format=st.sampled_from(["json", "console"]))
def test_a_hidden_secret_is_never_written(secret: str, before: str, log_format: str) -> None:
    """A hidden secret is never written, wherever it occurs and however it is escaped."""
    logs._secrets = logs._Secrets()
    logs.hide(secret)
    line = written(
        log_format,
        "tried",
        text=f"{before}{secret}",
        nested=[{"a": secret}],
        shown=repr(secret),
        **dict[str, Any]({f"k{secret}": 1}),
    )
    known = line.replace(logs.HIDDEN, "")
    fixed = "2026-11-24T08:00:00.123Z info tried text nested shown timestamp level event"
    if secret not in fixed and secret not in "[hidden]":
        assert secret not in known
        assert json.dumps(secret)[1:-1] not in known


def test_a_secret_is_hidden_in_errors_tracebacks_and_urls() -> None:
    """A secret is masked in errors, tracebacks and URLs."""
    logs.hide("00s3cr/et+token")
    stream = io.StringIO()
    logs.configure("console", "debug", stream)
    try:
        _raise("header SSWS 00s3cr/et+token and https://h.example.com/?t=00s3cr%2Fet%2Btoken")
    except ValueError:
        structlog.get_logger().exception("poll_failed")
    assert "s3cr" not in stream.getvalue()
    assert stream.getvalue().count(logs.HIDDEN) >= 2


def test_a_key_of_many_lines_is_hidden_line_by_line() -> None:
    """Each line of a private key is masked."""
    logs.hide("-----BEGIN PRIVATE KEY-----\nMIIEfirst\nMIIEsecond\n-----END PRIVATE KEY-----")
    line = written("json", "tried", one="MIIEsecond", text="-----BEGIN PRIVATE KEY-----")
    assert json.loads(line)["one"] == logs.HIDDEN
    assert "BEGIN" in line


def test_a_secret_at_the_edge_of_a_cut_is_hidden() -> None:
    """Secrets are hidden before a text is cut."""
    logs.hide("00tokentokentoken")
    line = written("json", "tried", text="x" * (logs.LONGEST_VALUE - 25) + "00tokentokentoken" + "y" * 100)
    assert "00token" not in line


def test_a_longer_secret_is_hidden_completely() -> None:
    """If a secret begins with another secret, the whole longer one is hidden."""
    logs.hide("00token")
    logs.hide("00token-and-more")
    assert "more" not in written("json", "tried", text="00token-and-more")


def test_a_secret_that_is_registered_later_is_hidden() -> None:
    """A secret that is registered after the first log line is masked in the next one."""
    logs.hide("00token-of-acme")
    assert "acme" not in written("json", "tried", text="00token-of-acme")
    logs.hide("11token-of-globex")
    line = written("json", "tried", text="00token-of-acme 11token-of-globex")
    assert json.loads(line)["text"] == f"{logs.HIDDEN} {logs.HIDDEN}"


def test_a_short_secret_is_not_masked() -> None:
    """A secret of one character is not masked, because every line would become unreadable."""
    logs.hide("a")
    logs.hide("")
    assert "page_committed" in written("json", "page_committed")


def test_libraries_log_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of libraries are logged as events, even if their arguments don't fit the message."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own would fail on such arguments
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    logging.getLogger("aiohttp.client").warning("slow %s", "host\n")
    logging.getLogger("somewhere").error("bad %d", "text")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (
        first.items()
        >= {"event": "library_log", "logger": "aiohttp.client", "message": "slow host\n"}.items()
    )
    assert (second["level"], second["message"]) == ("error", "bad %d")


@pytest.mark.parametrize(("name", "level"), logs.QUIET.items())
def test_libraries_have_a_minimum_level(name: str, level: int) -> None:
    """Records of a library below its minimum level are not logged, even at level debug."""
    stream = io.StringIO()
    logs.configure("json", "debug", stream)
    library = logging.getLogger(f"{name}.part")
    library.log(level - 10, "hidden")
    library.log(level, "shown")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["shown"]


def test_the_sdks_logger_stays_disabled() -> None:
    """The SDK's logger, which writes Authorization headers, stays disabled even if its level is set again."""
    stream = io.StringIO()
    logs.configure("json", "debug", stream)
    sdk = logging.getLogger("okta-sdk-python")
    sdk.critical("Authorization: SSWS 00token")
    sdk.setLevel(logging.DEBUG)
    sdk.addHandler(logging.StreamHandler(stream))
    sdk.critical("Authorization: SSWS 00token")
    assert stream.getvalue() == ""


def test_a_second_configuration_replaces_the_first() -> None:
    """A second configuration replaces the first."""
    first, second = io.StringIO(), io.StringIO()
    logs.configure("json", "info", first)
    logs.configure("json", "info", second)
    logging.getLogger("somewhere").error("once")
    structlog.get_logger().info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 2


def test_a_log_without_a_reader_is_no_error() -> None:
    """A log whose reader is gone raises no error."""
    reader, writer = os.pipe()
    os.close(reader)
    with io.TextIOWrapper(io.FileIO(writer, "w"), encoding="utf-8", write_through=True) as stream:
        logs.configure("json", "info", stream)
        structlog.get_logger().info("started")
    structlog.get_logger().info("closed")


def test_importing_logs_and_settings_is_cheap() -> None:
    """Logs and settings import no large packages, so that `status` and `alerts list` start fast."""
    code = "import sys, oktawatch.logs, oktawatch.config; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "pydantic" in loaded
    assert not {"okta", "aiohttp", "sqlalchemy", "alembic", "apscheduler", "structlog", "typer"} & set(loaded)
