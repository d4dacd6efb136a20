"""Identifiers of the shapes that Okta's have, drawn from a seeded source so that the same seed gives the same."""

import random
import string

_LETTERS = string.ascii_letters + string.digits
_GREGORIAN = 0x01B21DD213814000
"""100 ns ticks from 1582-10-15, where the time of a uuid begins, to 1970."""


def object_id(rng: random.Random, prefix: str) -> str:
    """Return an id of twenty letters and digits: `00u…` a person, `0oa…` an app, `pfd…` an enrolled factor."""
    return prefix + _some(rng, 20 - len(prefix))


def session_id(rng: random.Random) -> str:
    """Return a session's id, as `externalSessionId` and `rootSessionId` show it."""
    return "idx" + _some(rng, 22)


def request_id(rng: random.Random) -> str:
    """Return a request's id; an event's transaction has it too."""
    return f"{rng.getrandbits(128):032x}"


def digest(rng: random.Random) -> str:
    """Return a SHA-256 in hexadecimal, such as `dtHash`."""
    return f"{rng.getrandbits(256):064x}"


def event_uuid(published: int, entropy: int) -> str:
    """Return an event's uuid: one with a time in it (version 1), which is the time it was published.

    `entropy` is any number; its low 75 bits tell events of one millisecond apart.
    """
    ticks = published * 10_000 + entropy % 10_000 + _GREGORIAN
    entropy //= 10_000
    low, mid, high = ticks & 0xFFFF_FFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF
    clock, node = entropy >> 48 & 0x3FFF, entropy & 0xFFFF_FFFF_FFFF
    return f"{low:08x}-{mid:04x}-{high | 0x1000:04x}-{clock | 0x8000:04x}-{node:012x}"


def _some(rng: random.Random, count: int) -> str:
    return "".join(rng.choices(_LETTERS, k=count))
