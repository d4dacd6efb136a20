"""An SMTP server in a thread."""

import asyncio
import email
import email.policy
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller


class Mailbox:
    """Accepts every mail, or refuses it while ``full``."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.full = False
        self.hold: threading.Event | None = None
        self.url = ""
        """The Apprise URL of this server."""

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 -- aiosmtpd's name
        """Accept or refuse a mail."""
        if self.hold is not None:
            await asyncio.to_thread(self.hold.wait)
        if self.full:
            return "452 Insufficient system storage"
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


@contextmanager
def mailbox(tls: ssl.SSLContext | None = None, *, starttls: bool = False) -> Iterator[Mailbox]:
    """Serve on loopback, with TLS from the first byte (``tls``) or after STARTTLS (``starttls``)."""
    box = Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Controller(
        box,
        hostname="127.0.0.1",
        port=port,
        ssl_context=None if starttls else tls,
        tls_context=tls if starttls else None,
        require_starttls=starttls,
    )
    server.start()
    try:
        scheme, mode = (
            ("mailto", "insecure") if tls is None else ("mailtos", "starttls" if starttls else "ssl")
        )
        box.url = f"{scheme}://127.0.0.1:{port}?from=oktawatch@example.com&to=soc@example.com&mode={mode}"
        yield box
    finally:
        server.stop()


def text_of(mail: EmailMessage) -> str:
    """Return the text that a person reads."""
    body = mail.get_body(("html", "plain"))
    assert body is not None
    return str(body.get_content())
