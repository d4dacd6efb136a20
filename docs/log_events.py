"""Print docs/log-events.md: levels and keys from the code, meanings from docs/log_events.toml."""

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import oktawatch

_CODE = Path(oktawatch.__file__).parent
_MEANINGS = Path(__file__).with_name("log_events.toml")
_LEVELS = ("debug", "info", "warning", "error")
_NOT_FOUND = {
    # name: level. Events whose names are computed, or which are written without structlog.
    **dict.fromkeys(("daemon_started", "daemon_reloaded"), "info"),
    "database_failed": "error",
    "database_recovered": "info",
    "log_lines_dropped": "warning",
}
_MORE_KEYS: dict[str, tuple[str, ...]] = {
    # Keys that the code passes with **, or to an event whose name is computed.
    **dict.fromkeys(("daemon_started", "daemon_reloaded"), ("rules", "interval")),
    "events_unusable": ("error",),
    "log_lines_dropped": ("lines",),
    "org_silent": ("error",),
    "rules_enabled": ("backfill",),
    **dict.fromkeys(("alert_opened", "alert_raised"), ("notifier", "alert_id")),
    **dict.fromkeys(
        ("alert_acknowledged", "alert_closed"), ("notifier", "alert_id", "by", "disposition", "note")
    ),
    "digest": ("notifier", "digest", "runbook"),
    **dict.fromkeys(("silence_raised", "silence_over"), ("notifier", "silence")),
    "test": ("notifier", "message"),
}
_ALERTS = (
    "alert_opened",
    "alert_raised",
    "digest",
    "alert_acknowledged",
    "alert_closed",
    "silence_raised",
    "silence_over",
    "test",
)
"""Messages of notifiers of type ``log``."""

HEAD = """\
# Log events

Each line of the log is an event with a name and keys, as JSON under systemd and as text on a terminal
(`service.log_format`). This page, generated from the code by `make docs`, lists all events. Names and keys are stable. Find the
lines of one event, for example, with

    journalctl -u oktawatch -o cat | grep poll_failed

Events of level *error* need a person. Events of level *warning* are alerts, or unusual conditions in which oktawatch continues.
Events of level *info* are for later analysis.
"""


class Found:
    """The levels and keys with which the code writes an event."""

    def __init__(self) -> None:
        self.levels: set[str] = set()
        self.keys: dict[str, None] = {}


def events() -> dict[str, Found]:
    """Return all events of the code, by name."""
    found: dict[str, Found] = defaultdict(Found)
    for file in sorted(_CODE.rglob("*.py")):
        if file.is_relative_to(_CODE / "simulator"):
            continue
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant):
                for name, level, keys in _events_of(call, call.args[0].value):
                    found[name].levels.add(level)
                    found[name].keys |= dict.fromkeys(keys)
    for name, level in _NOT_FOUND.items():
        found[name].levels.add(level)
    for name in _ALERTS:
        found[name].levels.add("warning")
    for name, more_keys in _MORE_KEYS.items():
        found[name].keys |= dict.fromkeys(more_keys)
    return found


def _events_of(call: ast.Call, name: object) -> Iterator[tuple[str, str, list[str]]]:
    function = ast.unparse(call.func)
    known = [keyword.arg for keyword in call.keywords if keyword.arg and keyword.arg != "exc_info"]
    if not isinstance(name, str):
        return
    if function == "FailureLog":
        yield f"{name}_failed", "error", [*known, "reason", "error"]
        yield f"{name}_recovered", "info", [*known, "failures", "reasons"]
    elif function.endswith("_log") or function == "log":  # the level depends on the case
        yield name, "info", known
    elif function.rpartition(".")[0].endswith("_log") and function.rpartition(".")[2] in _LEVELS:
        yield name, function.rpartition(".")[2], known


def reference() -> str:
    """Return the page. Raises KeyError for an event without a meaning, and ValueError for a meaning without an event."""
    meanings = tomllib.loads(_MEANINGS.read_text("utf-8"))
    found = events()
    if unknown := set(meanings) - set(found):
        raise ValueError(f"no such events: {', '.join(sorted(unknown))}")
    rows = ["| event | level | keys | meaning, and what to do |", "|---|---|---|---|"]
    for name, event in sorted(found.items()):
        meaning = meanings[name]
        levels = ", ".join(level for level in _LEVELS if level in event.levels)
        keys = ", ".join(f"`{key}`" for key in event.keys)
        text = f"{meaning['means']} {meaning['do']}" if "do" in meaning else meaning["means"]
        rows.append(f"| `{name}` | {levels} | {keys} | {text} |")
    return "\n".join([HEAD, *rows]) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
