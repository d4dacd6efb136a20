"""What it takes to read one org."""

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

_HEADER_TEXT = re.compile(r"[!-~]+").fullmatch


@dataclass(frozen=True)
class ServiceApp:
    """An OAuth app without people that may read the System Log (Okta: an API service integration)."""

    client_id: str
    private_key: str = field(repr=False)
    """PEM of an RSA key, as ``keys.read_private_key`` makes it."""
    kid: str = ""
    """The key's id; an app with several keys needs it."""
    dpop: bool | None = None
    """Bind access tokens to a key of this process; None: as soon as Okta says that the app requires it."""
    scopes: tuple[str, ...] = ("okta.logs.read",)


@dataclass(frozen=True)
class OrgAccess:
    """An Okta org and the credentials that read its System Log: a token or a service app."""

    name: str
    """What oktawatch calls it."""
    url: str
    """Scheme and host, such as ``https://acme.okta.com``; settings have checked it."""
    token: str = field(default="", repr=False)
    """An API token (Okta: the SSWS scheme)."""
    app: ServiceApp | None = None
    proxy: str | None = field(default=None, repr=False)
    """URL of the egress proxy, with its user and password if it has them; None for the direct way."""

    def __post_init__(self) -> None:
        """Refuse a token that no header can carry; its text stays unsaid."""
        if self.app is None and not _HEADER_TEXT(self.token):
            raise ValueError(f"the token of org {self.name} is empty or holds spaces or control characters")
        object.__setattr__(self, "url", self.url.rstrip("/"))

    def secrets(self) -> Iterator[str]:
        """Give every text that must never be shown."""
        if self.token:
            yield self.token
        if self.app is not None:
            yield self.app.private_key
        yield from self.proxy_secrets()

    def proxy_secrets(self) -> Iterator[str]:
        """Give the proxy's password as it may be written: in a URL, plainly, and in a header."""
        user, at, _ = urlsplit(self.proxy or "").netloc.rpartition("@")
        name, _, password = user.partition(":")
        if at and password:
            plain = unquote(password)
            yield password
            yield plain
            yield b64encode(f"{unquote(name)}:{plain}".encode("latin-1")).decode()
