"""The configuration that `oktawatch init` writes: the commented example with the values of one org."""

import json
import re
from urllib.parse import urlsplit

from oktawatch import shipped

EXAMPLE = "oktawatch.example.toml"
TOKEN_FILE = "okta.token"  # noqa: S105 -- the name of a file
"""The name of the token's file, and of systemd's credential."""

_COPY = "Copy it to ./oktawatch.toml or /etc/oktawatch/oktawatch.toml."


def starter_configuration(url: str, *, database: str | None = None) -> str:
    """Return the text of a configuration for one org.

    ``url`` is the org's URL, as `check_org_url` returns it. ``database`` is the URL of the database; by default,
    the example's default applies.
    """
    values = {"name": org_name(url), "url": url, "token_file": TOKEN_FILE}
    before, header, after = shipped.read(EXAMPLE).partition("\n[[orgs]]\n")
    for key, value in values.items():
        after = _with_value(after, key, value)
    if database is not None:
        before = _with_value(before, "url", database)
    return before.replace(_COPY, "After a change, run 'oktawatch check'.") + header + after


def org_name(url: str) -> str:
    """Return a short name for an org: the first label of its host name, or the whole host if that is an address."""
    host = urlsplit(url).hostname or ""
    label = host.partition(".")[0]
    return host if ":" in host or label.isdecimal() else label


def _with_value(text: str, key: str, value: str) -> str:
    """Set a key in the first line that has it, even commented out. A comment after the value keeps its column."""
    line = re.compile(rf'^#?{key} = "[^"]*"( *)', re.MULTILINE)
    found = line.search(text)
    if found is None:
        raise ValueError(f"the example has no key {key}")
    setting = f"{key} = {json.dumps(value)}"
    padding = " " * max(len(found[0]) - len(setting), 1) if found[1] else ""
    return text[: found.start()] + setting + padding + text[found.end() :]
