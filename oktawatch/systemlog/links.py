"""Parse the ``Link`` header for the next page.

Okta sends two header lines, ``self`` and ``next``. A proxy can join them with a comma, and URLs can contain commas. So a
value is parsed by its grammar (RFC 8288), not split.

A token must never be sent to another host. So the origin of a link is checked, and only its path and query are kept,
exactly as Okta wrote them.
"""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from oktawatch.systemlog.queries import LOGS_PATH

_PARAMETER = re.compile(
    r"""\s*+;\s*+(?P<name>[\w!#$&+.^`|~*-]++)\s*+(?:=\s*+(?:"(?P<quoted>[^"\\]*+(?:\\.[^"\\]*+)*)"|(?P<bare>[^\s",;]*+)))?""",
    re.ASCII,
).match
_TARGET = re.compile(r"[\s,]*+<(?P<target>[^<>]*+)>").match
_REST = re.compile(r"[\s,]*+").fullmatch
_URL = re.compile(
    r"(?P<origin>[A-Za-z][A-Za-z0-9+.-]*+://[^/?#\\]++)?(?P<path>/[^?#]*+)(?P<query>\?[^#]*+)?(?:#.*)?"
)
_PRINTABLE = re.compile(r"[!-~]+").fullmatch  # the characters of a request line
_PORTS = {"http": 80, "https": 443}


def next_query(values: Iterable[str], url: str) -> str | None:
    """Return the path and query of the ``rel="next"`` link in the header's values, or None.

    ``url`` is the org's URL. Raises ValueError if the link does not lead to the org's System Log, or if the header is
    malformed.
    """
    for value in values:
        for target, relations in _links(value):
            if "next" in relations:
                return _query_of(target, url)
    return None


def _links(value: str) -> Iterable[tuple[str, list[str]]]:
    position = 0
    while not _REST(value, position):
        match = _TARGET(value, position)
        if match is None:
            raise ValueError("a malformed Link header")
        position = match.end()
        relations: list[str] | None = None
        while parameter := _PARAMETER(value, position):
            position = parameter.end()
            if relations is None and parameter["name"].lower() == "rel":
                relations = (parameter["quoted"] or parameter["bare"] or "").lower().split()
        yield match["target"], relations or []


def _query_of(target: str, url: str) -> str:
    parts = _URL.fullmatch(target) if _PRINTABLE(target) else None
    if parts is None or (parts["origin"] and _origin(parts["origin"]) != _origin(url)):
        raise ValueError("a next link to another host")
    if parts["path"] != LOGS_PATH or not parts["query"]:
        raise ValueError("a next link to another path than the System Log")
    return f"{parts['path']}{parts['query']}"


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return (
        parts.scheme.lower(),
        (parts.hostname or "").lower(),
        parts.port or _PORTS.get(parts.scheme.lower()),
    )
