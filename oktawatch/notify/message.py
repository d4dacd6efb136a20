"""A message, and its three forms: plain text, Markdown and HTML.

A message is a heading and labelled lines. Text from an event goes through `text.harmless` when the line is created,
so plain text and Markdown need no escaping. HTML escapes every text.
"""

from typing import Any

from msgspec import Struct

from oktawatch.model.severity import Severity
from oktawatch.notify.text import as_code, as_html

_SLIM_LIST = 10  # entries of an alarm in a slim body


class Line(Struct, frozen=True):
    """One labelled line of a message."""

    label: str
    text: str
    """Text that is safe to display: oktawatch's own words, or text from `text.harmless`."""
    typed: bool = False
    """Whether Markdown shows the text as code. True for untrusted text and for commands."""
    link: str | None = None
    """The URL that the text links to."""


class Message(Struct, frozen=True, kw_only=True):
    """One notification, ready for a channel to send."""

    id: str
    """The idempotency key."""
    type: str
    """``alert.opened``, ``alert.raised``, ``alert.acknowledged``, ``alert.closed``, ``digest``, ``silence.raised``, ``silence.over`` or ``test``."""
    severity: Severity | None
    """None for a test, for the end of an alarm, and for a digest without alerts."""
    heading: str
    lines: tuple[Line, ...]
    body: dict[str, Any]
    """The message for programs: a JSON object whose first key is its type."""
    incident: str | None = None
    """The id that all messages about one alert share."""

    def slim_body(self) -> dict[str, Any] | None:
        """Return the body without its large parts, for a receiver with a size limit. None if there are no large parts."""
        alert, silence = self.body.get("alert"), self.body.get("silence")
        if alert is not None and alert["context"] is not None:
            return self.body | {"alert": alert | {"context": None}}
        if silence is not None and len(silence["about"]) > _SLIM_LIST:
            about = silence["about"]
            return self.body | {"silence": {"about": about[:_SLIM_LIST], "more": len(about) - _SLIM_LIST}}
        return None

    def plain(self) -> str:
        """Return the lines as plain text, without the heading."""
        return "\n".join(f"{line.label}: {line.link or line.text}" for line in self.lines)

    def markdown(self) -> str:
        """Return the lines in Markdown that all chats support, without the heading."""
        return "\n\n".join(f"**{line.label}:** {_markdown(line)}" for line in self.lines)

    def html(self) -> str:
        """Return the lines as an HTML fragment, without the heading."""
        rows = "".join(f"<p><b>{as_html(line.label)}:</b> {_html(line)}</p>\n" for line in self.lines)
        return f"<div>\n{rows}</div>"


def _markdown(line: Line) -> str:
    if line.link is not None:
        return f"[{line.text}](<{line.link}>)"
    return as_code(line.text) if line.typed else line.text


def _html(line: Line) -> str:
    text = as_html(line.text)
    return f'<a href="{as_html(line.link)}">{text}</a>' if line.link is not None else text
