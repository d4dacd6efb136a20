"""Types of configuration values, with their validators.

A validator raises ValueError, which says what is expected and never quotes the value.
"""

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from oktawatch.model.anonymizer_kind import AnonymizerKind
from oktawatch.model.durations import format_duration, parse_duration
from oktawatch.model.severity import Severity
from oktawatch.model.severity_adjustment import MOST_LEVELS, SeverityAdjustment

LONGEST_DURATION = timedelta(days=3650)
"""An upper limit that keeps date arithmetic within the range of datetime."""
LONGEST_NAME = 100  # characters; names occur in keys, labels and log lines
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII).fullmatch
_HIGHEST_PORT = 65_535
_ADMIN_HOST = re.compile(r"(.+)-admin(\.(?:okta|oktapreview|okta-emea)\.com)").fullmatch
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
    """Return a validator that refuses durations below a minimum."""

    def check(value: timedelta) -> timedelta:
        if value >= least:
            return value
        raise ValueError(f"expected at least {format_duration(least)}")

    return AfterValidator(check)


def _severity(value: Any) -> Severity:
    if isinstance(value, str):
        return Severity.parse(value)
    raise ValueError(f"expected one of {', '.join(Severity.__members__)}, in quotes")


def _anonymizer_kind(value: Any) -> AnonymizerKind:
    try:
        return AnonymizerKind(value)
    except ValueError:
        raise ValueError(f"expected one of {', '.join(AnonymizerKind)}") from None


def _adjustment(value: Any) -> SeverityAdjustment:
    try:
        return SeverityAdjustment(value)
    except ValueError:
        raise ValueError(f"expected one of {', '.join(SeverityAdjustment)}") from None


def _levels(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and -MOST_LEVELS <= value <= MOST_LEVELS:
        return value
    raise ValueError(f"expected a number of levels from -{MOST_LEVELS} to {MOST_LEVELS}; 0 turns it off")


def _name(value: str) -> str:
    if 0 < len(value) <= LONGEST_NAME and value.isprintable() and value == value.strip():
        return value
    raise ValueError(f"expected 1 to {LONGEST_NAME} printable characters without spaces at the ends")


def _plain_name(value: str) -> str:
    if value.startswith("#") or value == "*":
        raise ValueError('expected a name that does not start with "#" (a tag) and is not "*" (everything)')
    return _name(value)


def _name_or_empty(value: str) -> str:
    return _name(value) if value else ""


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
PositiveDuration = Annotated[Duration, at_least(timedelta(seconds=1))]
SeverityName = Annotated[Severity, BeforeValidator(_severity)]
KindName = Annotated[AnonymizerKind, BeforeValidator(_anonymizer_kind)]
AdjustmentName = Annotated[SeverityAdjustment, BeforeValidator(_adjustment)]
Levels = Annotated[int, BeforeValidator(_levels)]
Name = Annotated[str, AfterValidator(_plain_name)]
OptionalName = Annotated[str, AfterValidator(_name_or_empty)]
Pattern = Annotated[str, AfterValidator(_name)]
Names = Annotated[tuple[Name, ...], Field(strict=False)]
Patterns = Annotated[tuple[Pattern, ...], Field(strict=False)]
Secret = Annotated[SecretStr | None, BeforeValidator(_none_if_empty)]
File = Annotated[Path | None, BeforeValidator(_none_if_empty)]
AnyCase = BeforeValidator(_lower)


def split_url(url: str) -> SplitResult:
    """Parse a URL. Raises ValueError unless it has a host and, if it has a port, a valid one."""
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
    """Return whether a host name or address always refers to the local machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_https(url: str) -> str:
    """Accept an https URL, or an http URL on the local machine."""
    parts = split_url(url)
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        return url
    raise ValueError("expected an https URL (http is allowed only for localhost, 127.0.0.0/8 and ::1)")


def check_org_url(url: str) -> str:
    """Validate an org's URL, and return its scheme and host, to which Okta's paths are appended."""
    parts = split_url(check_https(url))
    if "@" in parts.netloc:
        raise ValueError("expected the org's URL without a user or password")
    if parts.path not in ("", "/") or "?" in url or "#" in url:
        raise ValueError("expected the org's URL without a path or query: https://acme.okta.com")
    if _ADMIN_HOST(parts.hostname or ""):
        raise ValueError("expected the org's URL without -admin in the host name")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def correct_org_url(text: str) -> str:
    """Convert a URL that a person copied or typed to one that `check_org_url` accepts.

    Adds https://, and removes a user and password, the path, the query and -admin. Raises ValueError if the result is
    not a valid URL.
    """
    url = text.strip()
    parts = split_url(url if "://" in url else f"https://{url}")
    host = parts.netloc.rpartition("@")[2].lower()
    admin = _ADMIN_HOST(host)
    return check_org_url(f"{parts.scheme}://{admin[1] + admin[2] if admin else host}")


def check_secret_https(url: SecretStr | None) -> SecretStr | None:
    """Apply `check_https` to a secret URL."""
    if url is not None:
        check_https(url.get_secret_value())
    return url


def check_proxy(url: SecretStr | None) -> SecretStr | None:
    """Validate a proxy's URL. http is allowed, because requests go through a TLS tunnel."""
    if url is None:
        return None
    parts = split_url(url.get_secret_value())
    if parts.scheme not in ("http", "https"):
        raise ValueError("expected the proxy's URL such as http://proxy.example.com:3128")
    try:
        unquote(parts.netloc.rpartition("@")[0]).encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(
            "expected the proxy's user and password in Latin-1, the encoding of HTTP headers"
        ) from None
    return url


def check_listen(address: str) -> str:
    """Validate a listen address: HOST:PORT or an empty string."""
    match = _HOST_AND_PORT(address)
    if address and (match is None or not match[2] or int(match[2][1:]) > _HIGHEST_PORT):
        raise ValueError('expected HOST:PORT such as 127.0.0.1:9464 or [::1]:9464, or "" to turn it off')
    return address


def check_database(url: SecretStr) -> SecretStr:
    """Validate a database URL: an SQLite file or a Postgres server."""
    text = url.get_secret_value()
    if text.startswith(("postgresql://", "postgresql+psycopg://")):
        check_server(text)
        return url
    if text.startswith("sqlite:///"):
        name = text.removeprefix("sqlite:///")
        if not name.isprintable() or name in ("", ":memory:") or name.startswith("file:") or "?" in name:
            # A database in memory would lose the cursor at each restart.
            raise ValueError("expected a file after sqlite:///, without a query")
        return url
    raise ValueError("expected sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE")


def check_server(url: str) -> str:
    """Validate the URL of a Postgres server.

    Refuse an unescaped "@" in a password: SQLAlchemy would show the rest of the password as the host in errors.
    """
    if not _SERVER(url) or not url.isprintable():
        raise ValueError(
            'expected postgresql+psycopg://USER@HOST/DATABASE, with %40 for each "@" in a password'
        )
    return url
