"""Logging with structlog: each line has an event name in snake_case and values as keys.

Log lines contain untrusted text from Okta events. Characters that can affect a terminal or split a line (control
characters, escape sequences, U+2028, bidirectional marks, lone surrogates) are escaped in both formats. A text is cut at
2,000 characters. The secrets registered with `hide` are masked in each line, as a safety net: no code should log a
secret in the first place.

Records of other libraries are logged as the event ``library_log``. The Okta SDK's logger is disabled, because it logs
Authorization headers.
"""

import enum
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, TextIO
from urllib.parse import quote

from oktawatch.log_stream import LogStream
from oktawatch.model.durations import format_duration
from oktawatch.model.sanitize import clean_json, shorten
from oktawatch.model.timestamps import to_text, utc_now

LONGEST_VALUE = 2_000  # characters
SHORTEST_SECRET = 4  # characters; masking shorter texts would mask ordinary words
HIDDEN = "[hidden]"
_DEEPEST = 8  # levels of nesting; deeper values are formatted with str()

QUIET = {
    "apscheduler": logging.ERROR,  # warns at each interval while a job is still running
    "sqlalchemy": logging.WARNING,
    "alembic": logging.WARNING,
    "aiohttp": logging.WARNING,
    "apprise": logging.WARNING,  # logs URLs with tokens at DEBUG
    "asyncio": logging.WARNING,
}
"""The minimum level of each library, even if a lower level is configured."""

_COLOURS = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}
_PLAIN_VALUE = re.compile(r"[^\s\"'=]+").fullmatch


class _Secrets:
    """The secrets to mask, in every encoding that a log line can contain."""

    def __init__(self) -> None:
        self._encodings: frozenset[str] = frozenset()

    def add(self, secret: str) -> None:
        # The line ends of a multi-line key are escaped in the log, so mask each line separately.
        for line in {secret, *secret.splitlines()}:
            if len(line.strip()) >= SHORTEST_SECRET and not line.startswith("-----"):
                self._encodings |= {
                    line,
                    quote(line, safe="", errors="replace"),
                    repr(line)[1:-1],
                    json.dumps(line)[1:-1],
                    json.dumps(line, ensure_ascii=False)[1:-1],
                }

    def mask(self, text: str) -> str:
        return _pattern(self._encodings).sub(HIDDEN, text)


@lru_cache(maxsize=1)
def _pattern(texts: frozenset[str]) -> re.Pattern[str]:
    """Return a pattern that matches these texts, the longest first. Compiled for the first line after a new secret."""
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")  # (?!) never matches


_secrets = _Secrets()


def hide(secret: str) -> None:
    """Mask a secret in all later log lines. Secrets below four characters are not masked."""
    _secrets.add(secret)


def printable(text: str) -> str:
    r"""Return a text as a single line for a terminal: secrets masked, unprintable characters as ``\uXXXX``."""
    return _printable(_secrets.mask(text))


def configure(
    log_format: Literal["auto", "console", "json"], level: str, stream: TextIO | None = None
) -> None:
    """Write log lines of ``level`` and above to ``stream``, by default standard error.

    The format ``auto`` is console on a terminal and JSON elsewhere. Levels are debug, info, warning, error and critical.
    Exceptions are logged as a value ``error=…``, at debug with a traceback as well.
    """
    import structlog  # noqa: PLC0415 -- takes 0.2 s, because it imports rich's tracebacks

    render, output = configure_libraries(log_format, level, stream)
    structlog.configure(
        processors=[structlog.processors.add_log_level, render],
        wrapper_class=structlog.make_filtering_bound_logger(_number(level)),
        logger_factory=lambda *_: output,
        cache_logger_on_first_use=False,
    )


def configure_libraries(
    log_format: Literal["auto", "console", "json"], level: str, stream: TextIO | None = None
) -> tuple["_Renderer", LogStream]:
    """Log the records of libraries in the same way as `configure`, for a command that logs nothing itself."""
    stream = sys.stderr if stream is None else stream
    is_terminal = _is_terminal(stream)
    # The journal is no terminal, so it gets JSON. Don't check JOURNAL_STREAM, which the shells of a desktop inherit.
    as_json = log_format == "json" or (log_format == "auto" and not is_terminal)
    layout = _json_line if as_json else _Console(colours=is_terminal and "NO_COLOR" not in os.environ)
    render = _Renderer(layout, tracebacks=_number(level) <= logging.DEBUG)
    output = LogStream(
        stream,
        lambda lines: render(None, "", {"event": "log_lines_dropped", "level": "warning", "lines": lines}),
    )
    _route_libraries(_LibraryHandler(render, output), _number(level))
    return render, output


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def _route_libraries(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _LibraryHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name, minimum in QUIET.items():
        logging.getLogger(name).setLevel(max(minimum, level))
    sdk = logging.getLogger("okta-sdk-python")
    sdk.handlers = [logging.NullHandler()]
    sdk.propagate = False
    sdk.setLevel(logging.CRITICAL + 1)
    sdk.disabled = True  # the SDK sets the level again


class _Renderer:
    """Formats an event as a line. Used as structlog's last processor, and for records of libraries."""

    def __init__(self, layout: Callable[[dict[str, Any]], str], *, tracebacks: bool) -> None:
        self._layout = layout
        self._tracebacks = tracebacks

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        error = _exception(event.pop("exc_info", None))
        if error is not None:
            event.setdefault("error", f"{type(error).__name__}: {_as_text(error)}")
        line: dict[str, Any] = {
            "timestamp": to_text(utc_now()),
            "level": event.pop("level", "info"),
            "event": _plain(event.pop("event", "")),
        }
        for key, value in event.items():
            name = _text(str(key))
            line[f"{name}_" if name in line else name] = _plain(value)
        if error is not None and self._tracebacks:
            line["traceback"] = "".join(traceback.format_exception(error)).rstrip()
        return _secrets.mask(self._layout(line))


def _exception(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1] if isinstance(exc_info[1], BaseException) else None
    return sys.exception() if exc_info else None


def _json_line(line: dict[str, Any]) -> str:
    return _printable(json.dumps(line, ensure_ascii=False))


class _Console:
    """Formats a line as time, level, event name and ``key=value`` pairs. Values with special characters are quoted."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = _COLOURS if colours else {}

    def __call__(self, line: dict[str, Any]) -> str:
        trace = line.pop("traceback", None)
        level = f"{line['level']:<8}"
        if line["level"] in self._colours:
            level = f"{self._colours[line['level']]}{level}\x1b[0m"
        parts = [line.pop("timestamp"), level, _printable(str(line.pop("event")))]
        del line["level"]
        parts += [f"{_printable(key)}={self._value(value)}" for key, value in line.items()]
        text = " ".join(parts)
        if trace is not None:
            text += "".join(f"\n    {_printable(step)}" for step in trace.splitlines())
        return text

    @staticmethod
    def _value(value: Any) -> str:
        if isinstance(value, str) and _PLAIN_VALUE(value):
            return _printable(value)
        return _printable(json.dumps(value, ensure_ascii=False))


def _printable(text: str) -> str:
    r"""Escape unprintable characters as ``\uXXXX``, which is also valid in JSON."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def _escape(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _plain(value: Any, depth: int = 0) -> Any:
    """Convert a logged value to JSON types."""
    if depth < _DEEPEST:
        if isinstance(value, Mapping):
            return {_text(str(key)): _plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [_plain(item, depth + 1) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and not isinstance(value, enum.Enum):
        value = clean_json(value)
        if not isinstance(value, str):
            return value
    return _text(_as_text(value))


def _text(text: str) -> str:
    # Mask before cutting: half a secret would no longer be recognized.
    return shorten(_secrets.mask(text), LONGEST_VALUE)


def _as_text(value: object) -> str:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return to_text(value)
    if isinstance(value, timedelta):
        return format_duration(value)
    try:
        return str(value)
    except Exception:  # noqa: BLE001 -- logging must not fail because a value's __str__ does
        return f"<{type(value).__name__}>"


class _LibraryHandler(logging.Handler):
    """Logs the records of other libraries as the event ``library_log``."""

    def __init__(self, render: _Renderer, output: LogStream) -> None:
        super().__init__()
        self._render = render
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 -- arguments that don't fit their message
            message = str(record.msg)
        event: dict[str, Any] = {
            "event": "library_log",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
            "exc_info": record.exc_info,
        }
        self._output.write(self._render(None, "", event))
