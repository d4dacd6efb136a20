"""What of the settings must never be shown: the texts that the log's last line of defence looks for."""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import unquote, unquote_plus

from pydantic import SecretStr

_SHORTEST_TOKEN = 8  # characters
_USER_AND_PASSWORD = re.compile(r"://[^:/@]*:([^@]+)@").search


def texts(*secrets: SecretStr | None) -> Iterator[str]:
    """Give the secrets that are there, as text."""
    return (secret.get_secret_value() for secret in secrets if secret is not None)


def passwords(url: str) -> Iterator[str]:
    """Give the passwords in a URL, as written and decoded: the rest of it may be shown."""
    found = _USER_AND_PASSWORD(url)
    written = [found[1]] if found else []
    for part in url.partition("?")[2].split("&"):
        key, _, value = part.partition("=")
        if "password" in key and value:
            written.append(value)
    for password in written:
        yield from dict.fromkeys((password, unquote(password), unquote_plus(password)))


def tokens(url: SecretStr | None) -> list[str]:
    """Give the parts of an Apprise URL that look like tokens: they are sent to other addresses by themselves.

    An address is none: it would be struck out wherever it is shown, of an alert too.
    """
    parts = re.split(r"[/:@?&=#,]+", url.get_secret_value() if url else "")
    return [
        part
        for part in parts
        if len(part) >= _SHORTEST_TOKEN and any(map(str.isdigit, part)) and not _is_address(part)
    ]


def _is_address(part: str) -> bool:
    try:
        ip_address(part)
    except ValueError:
        return False
    return True
