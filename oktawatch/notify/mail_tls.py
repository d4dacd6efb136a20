"""Make Apprise's mail service trust a private CA, and record why a certificate was refused.

Apprise builds the TLS context for a mail server itself, has no setting for authorities, and logs the reason
of a failure only at a level that also shows tokens. So its SMTP connection is replaced by a subclass. Apprise
passes the service's ``verify_certificate`` to the connection unchanged. A `MailTrust` replaces this flag: it passes
the authorities to the connection, and brings back the reason for a failure.
"""

import ssl
import threading
from types import SimpleNamespace
from typing import Any

from apprise import NotifyBase
from apprise.plugins.email import base, smtp

_trust = threading.local()
"""Its ``authorities`` are those of the connection that this thread is opening."""


class MailTrust:
    """The authorities to accept for a mail server, in addition to the system's. Truthy, like the flag that it replaces."""

    def __init__(self, trust: ssl.SSLContext | None) -> None:
        self.authorities = b"".join(trust.get_ca_certs(binary_form=True)) if trust is not None else b""
        self.refusal: str | None = None
        """Why the certificate was refused on the latest connection. None if it was not refused."""


class _Connection(smtp.AppriseSMTPController):
    def __enter__(self) -> Any:
        trust: object = self.verify_certificate
        if not isinstance(trust, MailTrust):
            return super().__enter__()
        _trust.authorities, trust.refusal = trust.authorities, None
        try:
            return super().__enter__()
        except ssl.SSLCertVerificationError as error:
            trust.refusal = error.verify_message
            raise
        finally:
            _trust.authorities = b""


def _create_default_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    if authorities := getattr(_trust, "authorities", b""):
        context.load_verify_locations(cadata=authorities)
    return context


def trust_for_mail(service: NotifyBase, trust: ssl.SSLContext | None) -> MailTrust:
    """Make a service trust the authorities of a context, if it sends mail and verifies certificates."""
    mail_trust = MailTrust(trust)
    if isinstance(service, base.NotifyEmail) and service.verify_certificate:
        vars(base)["AppriseSMTPController"] = _Connection
        vars(smtp)["ssl"] = SimpleNamespace(
            create_default_context=_create_default_context, CERT_NONE=ssl.CERT_NONE
        )
        vars(service)["verify_certificate"] = mail_trust
    return mail_trust
