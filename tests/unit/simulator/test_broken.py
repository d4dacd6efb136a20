"""Each broken event has exactly the described defect."""

import json
from typing import Any

import pytest

from oktawatch.simulator import broken
from tests.support.logclient import event


def read(body: bytes) -> Any:
    """Read a body as tolerantly as Python can."""
    return json.loads(body.decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("name", sorted(broken.USABLE.keys() - {"nested"}))
def test_odd_events_say_which_they_are(name: str) -> None:
    """A broken event has the uuid, time and type of the original, and one defect."""
    good = event(1, displayMessage="Sign-in", version="0")
    made = read(broken.USABLE[name](good))
    assert {key: made[key] for key in ("uuid", "published", "eventType", "number")} == event(1)
    assert json.dumps(made) != json.dumps(good)


def test_a_nested_event_is_deeper_than_parsers_go() -> None:
    """A nested event without its nested field is the original."""
    body = broken.USABLE["nested"](event(1))
    with pytest.raises(RecursionError):
        read(body)
    deep = b"[" * broken.NESTING + b"]" * broken.NESTING
    assert read(body.replace(deep, b"0")) == event(1) | {"debugContext": 0}


@pytest.mark.parametrize("name", sorted(broken.UNUSABLE))
def test_nameless_events_have_no_uuid_or_no_time(name: str) -> None:
    """One of the two is missing or cannot be used."""
    made = read(broken.UNUSABLE[name](event(1)))
    fields = made if isinstance(made, dict) else {}
    uuid, published = fields.get("uuid"), fields.get("published")
    named = isinstance(uuid, str) and 0 < len(uuid) <= broken.LONGEST_UUID
    assert not (named and published == event(1)["published"])


def test_the_awkward_ones_are_what_they_say() -> None:
    """A megabyte, a NUL, half a surrogate pair, bytes that are no text, a number that no machine holds."""
    made = {name: make(event(1)) for name, make in broken.USABLE.items()}
    assert len(made["huge"]) > 1_000_000
    assert "\0" in read(made["nul"])["displayMessage"]
    assert "\ud800" in read(made["surrogate"])["displayMessage"]
    assert read(made["big_integer"])["version"] > 2**1000
    assert read(made["infinite"])["version"] == float("inf")
    with pytest.raises(UnicodeDecodeError):
        made["invalid_utf8"].decode()
