"""Each broken event has exactly the described defect."""

import json
from typing import Any

import pytest

from oktawatch.simulator import broken
from tests.support.logclient import event


def read(body: bytes) -> Any:
    """Parse a body as tolerantly as Python can."""
    return json.loads(body.decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("name", sorted(broken.USABLE.keys() - {"nested"}))
def test_usable_broken_events_keep_uuid_time_and_type(name: str) -> None:
    """A broken event has the uuid, time and type of the original, and one defect."""
    good = event(1, displayMessage="Sign-in", version="0")
    made = read(broken.USABLE[name](good))
    assert {key: made[key] for key in ("uuid", "published", "eventType", "number")} == event(1)
    assert json.dumps(made) != json.dumps(good)


def test_a_nested_event_is_too_deep_for_parsers() -> None:
    """A nested event without its nested field is the original."""
    body = broken.USABLE["nested"](event(1))
    with pytest.raises(RecursionError):
        read(body)
    deep = b"[" * broken.NESTING + b"]" * broken.NESTING
    assert read(body.replace(deep, b"0")) == event(1) | {"debugContext": 0}


@pytest.mark.parametrize("name", sorted(broken.UNUSABLE))
def test_unusable_events_lack_a_uuid_or_time(name: str) -> None:
    """An unusable event has no valid uuid or no valid time."""
    made = read(broken.UNUSABLE[name](event(1)))
    fields = made if isinstance(made, dict) else {}
    uuid, published = fields.get("uuid"), fields.get("published")
    named = isinstance(uuid, str) and 0 < len(uuid) <= broken.LONGEST_UUID
    assert not (named and published == event(1)["published"])


def test_extreme_values_are_as_described() -> None:
    """The events have a megabyte of text, a NUL, half a surrogate pair, a huge and an infinite number, and invalid UTF-8."""
    made = {name: make(event(1)) for name, make in broken.USABLE.items()}
    assert len(made["huge"]) > 1_000_000
    assert "\0" in read(made["nul"])["displayMessage"]
    assert "\ud800" in read(made["surrogate"])["displayMessage"]
    assert read(made["big_integer"])["version"] > 2**1000
    assert read(made["infinite"])["version"] == float("inf")
    with pytest.raises(UnicodeDecodeError):
        made["invalid_utf8"].decode()
