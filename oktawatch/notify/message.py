"""What a notification says to people, once, and the three forms of it: plain, Markdown, HTML.

A message is a heading and lines with labels. Words of ours stand as they are; whatever an event holds
goes through `text.harmless` when the line is made, so no form can forget it.
"""

from typing import Any

from msgspec import Struct

from oktawatch.model.severity import Severity
from oktawatch.notify.text import as_code, as_html

_SLIM_LIST = 10  # entries of an alarm in a slim body


class Line(Struct, frozen=True):
    """One thing that a message says."""

    label: str
    text: str
    """Harmless by now, or ours."""
    typed: bool = False
    """Some of it was typed by a stranger."""
    link: str | None = None
    """Where the text leads."""


class Message(Struct, frozen=True, kw_only=True):
    """One notification, ready to be carried."""

    id: str
    """The idempotency key."""
    type: str
    """``alert.opened``, ``alert.raised``, ``digest``, ``silence.raised``, ``silence.over`` or ``test``."""
    severity: Severity | None
    heading: str
    lines: tuple[Line, ...]
    body: dict[str, Any]
    """The same for programs: a JSON object that begins with its type."""

    def slim_body(self) -> dict[str, Any] | None:
        """Return the body without its large parts, for a receiver with a size limit; None if it has none."""
        alert, silence = self.body.get("alert"), self.body.get("silence")
        if alert is not None and alert["context"] is not None:
            return self.body | {"alert": alert | {"context": None}}
        if silence is not None and len(silence["about"]) > _SLIM_LIST:
            about = silence["about"]
            return self.body | {"silence": {"about": about[:_SLIM_LIST], "more": len(about) - _SLIM_LIST}}
        return None

    def plain(self) -> str:
        """Return it as text, without its heading."""
        return "\n".join(f"{line.label}: {line.link or line.text}" for line in self.lines)

    def markdown(self) -> str:
        """Return it in the Markdown that every chat reads, without its heading."""
        return "\n\n".join(f"**{line.label}:** {_markdown(line)}" for line in self.lines)

    def html(self) -> str:
        """Return it as a piece of HTML, without its heading."""
        rows = "".join(f"<p><b>{as_html(line.label)}:</b> {_html(line)}</p>\n" for line in self.lines)
        return f"<div>\n{rows}</div>"


def _markdown(line: Line) -> str:
    if line.link is not None:
        return f"[{line.text}](<{line.link}>)"
    return as_code(line.text) if line.typed else line.text


def _html(line: Line) -> str:
    text = as_html(line.text)
    return f'<a href="{as_html(line.link)}">{text}</a>' if line.link is not None else text
