"""Collect from the settings the secrets that the log masks."""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import unquote, unquote_plus

from pydantic import SecretStr

_SHORTEST_TOKEN = 8  # characters
_CREDENTIALS = ("key", "token", "secret", "sig", "auth")
_USER_AND_PASSWORD = re.compile(r"://[^:/@]*:([^@]+)@").search


def secret_values(*secrets: SecretStr | None) -> Iterator[str]:
    """Yield the text of each secret that is set."""
    return (secret.get_secret_value() for secret in secrets if secret is not None)


def passwords(url: str) -> Iterator[str]:
    """Yield the passwords in a URL, encoded and decoded. The rest of the URL is not secret."""
    match = _USER_AND_PASSWORD(url)
    encoded = [match[1]] if match else []
    for part in url.partition("?")[2].split("&"):
        key, _, value = part.partition("=")
        if "password" in key and value:
            encoded.append(value)
    for password in encoded:
        yield from dict.fromkeys((password, unquote(password), unquote_plus(password)))


def query_secrets(url: str) -> Iterator[str]:
    """Yield each long value of a URL's query, encoded and decoded, if its key names a credential.

    Short values can be ordinary words such as ``true``, which must not be masked in the log.
    """
    for part in url.partition("?")[2].partition("#")[0].split("&"):
        key, _, value = part.partition("=")
        if len(value) >= _SHORTEST_TOKEN and any(word in key.lower() for word in _CREDENTIALS):
            yield from dict.fromkeys((value, unquote(value), unquote_plus(value)))


def tokens(url: SecretStr | None) -> list[str]:
    """Return the parts of an Apprise URL that look like tokens, because Apprise puts them into other URLs.

    An IP address is not a token: otherwise it would be masked in alerts, too.
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
