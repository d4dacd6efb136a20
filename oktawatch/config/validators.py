"""The kinds of values that settings are made of, each with its check.

A check raises ValueError with what is expected, and never quotes what it was given.
"""

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from oktawatch.model.durations import format_duration, parse_duration
from oktawatch.model.severity import Severity

LONGEST_DURATION = timedelta(days=3650)
"""Far above any use, and far enough from the calendar's end to be subtracted from now."""
LONGEST_NAME = 100  # characters: a name is part of keys, labels and every log line
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII).fullmatch
_HIGHEST_PORT = 65_535
_SERVER = re.compile(
    r"postgresql(\+psycopg)?://([^:/]*(:[^@]*)?@)?(\[[0-9A-Fa-f:.]+\]|[^/:?@\[\]]*)(:[0-9]*)?(/[^?@]*)?(\?.*)?",
    re.ASCII,
).fullmatch


def _duration(value: Any) -> timedelta:
    if isinstance(value, str):
        duration = parse_duration(value)
        if duration > LONGEST_DURATION:
            raise ValueError(f"expected at most {format_duration(LONGEST_DURATION)}")
        return duration
    raise ValueError("expected a duration in quotes such as 30s, 5m, 6h or 7d")


def at_least(least: timedelta) -> AfterValidator:
    """Make the check of a duration's lower bound."""

    def check(value: timedelta) -> timedelta:
        if value >= least:
            return value
        raise ValueError(f"expected at least {format_duration(least)}")

    return AfterValidator(check)


def _severity(value: Any) -> Severity:
    if isinstance(value, str):
        return Severity.parse(value)
    raise ValueError(f"expected one of {', '.join(Severity.__members__)}, in quotes")


def _name(value: str) -> str:
    if 0 < len(value) <= LONGEST_NAME and value.isprintable() and value == value.strip():
        return value
    raise ValueError(f"expected 1 to {LONGEST_NAME} printable characters without spaces at the ends")


def _plain_name(value: str) -> str:
    if value.startswith("#") or value == "*":
        raise ValueError('expected a name that does not start with "#" (a tag) and is not "*" (everything)')
    return _name(value)


def _name_or_nothing(value: str) -> str:
    return _name(value) if value else ""


def _nothing(value: Any) -> Any:
    return None if value == "" else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
PositiveDuration = Annotated[Duration, at_least(timedelta(seconds=1))]
Grade = Annotated[Severity, BeforeValidator(_severity)]
Name = Annotated[str, AfterValidator(_plain_name)]
OptionalName = Annotated[str, AfterValidator(_name_or_nothing)]
Pattern = Annotated[str, AfterValidator(_name)]
Names = Annotated[tuple[Name, ...], Field(strict=False)]
Patterns = Annotated[tuple[Pattern, ...], Field(strict=False)]
Secret = Annotated[SecretStr | None, BeforeValidator(_nothing)]
File = Annotated[Path | None, BeforeValidator(_nothing)]
AnyCase = BeforeValidator(_lower)


def split_url(url: str) -> SplitResult:
    """Take a URL apart; raise ValueError unless it is one with a host and, if any, a usable port."""
    expected = "expected a URL such as https://host.example.com"
    if not url.isprintable() or " " in url or "\\" in url:
        raise ValueError(f"{expected}, without spaces and control characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not _HOST_AND_PORT(parts.netloc.rpartition("@")[2]) or port == 0:
        raise ValueError(expected)
    return parts


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_https(url: str) -> str:
    """Let a URL pass that is https, or http on this machine."""
    parts = split_url(url)
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        return url
    raise ValueError("expected an https URL (http is for localhost, 127.0.0.0/8 and ::1 alone)")


def check_org_url(url: str) -> str:
    """Let an org's address pass, as scheme and host: Okta's paths are put behind it."""
    parts = split_url(check_https(url))
    if "@" in parts.netloc:
        raise ValueError("expected the org's address without a user or password in it")
    if parts.path not in ("", "/") or "?" in url or "#" in url:
        raise ValueError("expected the org's address alone, without a path or query: https://acme.okta.com")
    host = parts.hostname or ""
    if re.search(r"-admin\.(okta|oktapreview|okta-emea)\.com$", host):
        raise ValueError("expected the org's own address, without -admin in it")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def check_secret_https(url: SecretStr | None) -> SecretStr | None:
    """Do the same for a URL that is a secret itself."""
    if url is not None:
        check_https(url.get_secret_value())
    return url


def check_proxy(url: SecretStr | None) -> SecretStr | None:
    """Let a proxy's address pass; http is usual there: what goes through is a TLS tunnel."""
    if url is None:
        return None
    parts = split_url(url.get_secret_value())
    if parts.scheme not in ("http", "https"):
        raise ValueError("expected the proxy's address such as http://proxy.example.com:3128")
    try:
        unquote(parts.netloc.rpartition("@")[0]).encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(
            "expected a user and password of the proxy in Latin-1: no header carries others"
        ) from None
    return url


def check_listen(address: str) -> str:
    """Let an address to listen on pass: HOST:PORT, or nothing."""
    found = _HOST_AND_PORT(address)
    if address and (found is None or not found[2] or int(found[2][1:]) > _HIGHEST_PORT):
        raise ValueError('expected HOST:PORT such as 127.0.0.1:9464 or [::1]:9464, or "" to turn it off')
    return address


def check_database(url: SecretStr) -> SecretStr:
    """Let a database's URL pass: an SQLite file or a Postgres server."""
    text = url.get_secret_value()
    if text.startswith(("postgresql://", "postgresql+psycopg://")):
        check_server(text)
        return url
    if text.startswith("sqlite:///"):
        name = text.removeprefix("sqlite:///")
        if not name.isprintable() or name in ("", ":memory:") or name.startswith("file:") or "?" in name:
            # A database in memory would forget the cursor, and with it what was read.
            raise ValueError("expected a file after sqlite:///, without a query")
        return url
    raise ValueError("expected sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE")


def check_server(url: str) -> str:
    """Let a Postgres server's URL pass, if it means to SQLAlchemy what it looks like.

    Of a password with an "@" in it SQLAlchemy takes the end for the host, and errors name the host.
    """
    if not _SERVER(url) or not url.isprintable():
        raise ValueError(
            'expected postgresql+psycopg://USER@HOST/DATABASE, with %40 for each "@" in a password'
        )
    return url
