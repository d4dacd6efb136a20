"""The address and credentials of an org."""

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

_HEADER_TEXT = re.compile(r"[!-~]+").fullmatch


@dataclass(frozen=True)
class ServiceApp:
    """An OAuth service app (Okta: an API Services app)."""

    client_id: str
    private_key: str = field(repr=False)
    """An RSA key in PEM, as returned by ``keys.read_private_key``."""
    kid: str = ""
    """The key id, required if the app has several keys."""
    dpop: bool | None = None
    """Whether to bind access tokens to a key of this process. None: only once Okta demands it."""
    scopes: tuple[str, ...] = ("okta.logs.read",)


@dataclass(frozen=True)
class OrgAccess:
    """An Okta org with the credentials to read its System Log: a token or a service app."""

    name: str
    """The configured name of the org."""
    url: str
    """Scheme and host, such as ``https://acme.okta.com``, validated by the settings."""
    token: str = field(default="", repr=False)
    """An API token (Okta: the SSWS scheme)."""
    app: ServiceApp | None = None
    proxy: str | None = field(default=None, repr=False)
    """The URL of the egress proxy, with its user and password. None for a direct connection."""

    def __post_init__(self) -> None:
        """Refuse a token that can't be sent in a header. The error doesn't quote the token."""
        if self.app is None and not _HEADER_TEXT(self.token):
            raise ValueError(
                f"the token of org {self.name} is empty or contains spaces, control characters or non-ASCII characters"
            )
        object.__setattr__(self, "url", self.url.rstrip("/"))

    def secrets(self) -> Iterator[str]:
        """Yield every secret that logs must mask."""
        if self.token:
            yield self.token
        if self.app is not None:
            yield self.app.private_key
        yield from self.proxy_secrets()

    def proxy_secrets(self) -> Iterator[str]:
        """Yield the proxy's password in each form that logs must mask: as in the URL, plain, and as in a header."""
        user, at, _ = urlsplit(self.proxy or "").netloc.rpartition("@")
        name, _, password = user.partition(":")
        if at and password:
            plain = unquote(password)
            yield password
            yield plain
            yield b64encode(f"{unquote(name)}:{plain}".encode("latin-1")).decode()
