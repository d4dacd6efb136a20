"""Remove tokens, hosts and people from a recorded exchange with an org.

All values that are not listed as harmless are replaced. Headers that are not listed are left out. Each text is replaced
by an invented text, and equal texts by the same one, so that a recording still shows which events have the same user. So
the recording of a real org can be published.
"""

import ipaddress
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from vcr.request import Request

ORG_URL = "https://acme.example.com"

_REQUEST_HEADERS = {"accept", "accept-encoding"}
_RESPONSE_HEADERS = {
    "content-type",
    "date",
    "dpop-nonce",
    "link",
    "x-okta-request-id",
    "x-rate-limit-limit",
    "x-rate-limit-remaining",
    "x-rate-limit-reset",
}
_KEPT = {
    "uuid", "published", "eventType", "legacyEventType", "displayMessage", "severity", "version", "result", "type",
    "level", "operator", "os", "browser", "device", "country", "threatSuspected", "risk",
    "errorCode", "errorSummary", "errorLink", "error", "error_description", "token_type", "scope",
}  # fmt: skip
_FORM = {"grant_type", "scope", "client_assertion_type"}
_NAMES = {"displayName", "alternateId", "name"}
_NOTHING = {"", "-", "null", "unknown"}
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+").fullmatch
_HOST = re.compile(r"https?://[^/>]+")
_CURSOR = re.compile(r"(?<=[?&]after=)(?!cursor-)[^&>]+")
_NETWORKS = ("203.0.113", "198.51.100", "192.0.2")


class Scrubber:
    """Scrubs a recording. Equal texts get equal replacements."""

    def __init__(self) -> None:
        """Start without replacements."""
        self._invented: dict[str, dict[str, int]] = {}

    def request(self, request: Request) -> Request:
        """Scrub a request: before it is recorded, and before it is looked up in a recording."""
        headers = {name: value for name, value in request.headers.items() if name.lower() in _REQUEST_HEADERS}
        return Request(request.method, self._url(request.uri), self._form(request.body), headers)

    def response(self, response: dict[str, Any]) -> dict[str, Any]:
        """Scrub a response before it is recorded."""
        headers = {
            name: [self._header(name.lower(), value) for value in values]
            for name, values in response["headers"].items()
            if name.lower() in _RESPONSE_HEADERS
        }
        return response | {
            "headers": headers,
            "body": {"string": self.body(response["body"].get("string", b""))},
        }

    def body(self, body: bytes) -> bytes:
        """Scrub a JSON body. Remove any other body."""
        try:
            return json.dumps(self._value("", json.loads(body)), separators=(",", ":")).encode()
        except ValueError:
            return b"scrubbed" if body else b""

    def _url(self, url: str) -> str:
        return _CURSOR.sub(lambda found: self._invent("cursor", found[0]), _HOST.sub(ORG_URL, url, count=1))

    def _form(self, body: Any) -> Any:
        """Scrub the form of a token request. Remove any other body."""
        if not isinstance(body, Mapping):
            return None
        return {name: value if name in _FORM else self._invent(name, value) for name, value in body.items()}

    def _header(self, name: str, value: str) -> str:
        if name == "link":
            return self._url(value)
        kind = {"x-okta-request-id": "request", "dpop-nonce": "nonce"}.get(name)
        return self._invent(kind, value) if kind else value

    def _value(self, key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._value(name, inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._value(key, inner) for inner in value]
        if isinstance(value, float):
            return 0.0  # a coordinate of a person's location
        if isinstance(value, str) and key not in _KEPT and value not in _NOTHING:
            return self._text(key, value)
        return value

    def _text(self, key: str, text: str) -> str:
        if _EMAIL(text):
            return f"{self._invent('person', text)}@example.com"
        try:
            version = ipaddress.ip_address(text).version
        except ValueError:
            return self._invent("name" if key in _NAMES else "text", text)
        number = self._number(f"IPv{version}", text)
        if version == 6:
            return f"2001:db8::{number:x}"
        return f"{_NETWORKS[number // 256]}.{number % 256}"

    def _invent(self, kind: str, text: str) -> str:
        return f"{kind}-{self._number(kind, text)}"

    def _number(self, kind: str, text: str) -> int:
        known = self._invented.setdefault(kind, {})
        return known.setdefault(text, len(known) + 1)


def path_and_query(url: str) -> str:
    """Return the part of a URL after the host."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"
