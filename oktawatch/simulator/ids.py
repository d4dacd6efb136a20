"""Random identifiers in Okta's formats. The same seed produces the same identifiers."""

import random
import string

_LETTERS = string.ascii_letters + string.digits
_GREGORIAN = 0x01B21DD213814000
"""Ticks of 100 ns from 1582-10-15, the epoch of uuids, to 1970."""


def object_id(rng: random.Random, prefix: str) -> str:
    """Return an id of twenty letters and digits: `00u…` for a user, `0oa…` for an app, `pfd…` for a factor."""
    return prefix + _letters(rng, 20 - len(prefix))


def session_id(rng: random.Random) -> str:
    """Return a session id, as in `externalSessionId` and `rootSessionId`."""
    return "idx" + _letters(rng, 22)


def request_id(rng: random.Random) -> str:
    """Return a request id, which is also the id of an event's transaction."""
    return f"{rng.getrandbits(128):032x}"


def digest(rng: random.Random) -> str:
    """Return a random SHA-256 digest in hexadecimal, such as `dtHash`."""
    return f"{rng.getrandbits(256):064x}"


def event_uuid(published: int, entropy: int) -> str:
    """Return a version 1 uuid for an event published at a time in milliseconds.

    The low 75 bits of `entropy` make the uuids of events in the same millisecond unique.
    """
    ticks = published * 10_000 + entropy % 10_000 + _GREGORIAN
    entropy //= 10_000
    low, mid, high = ticks & 0xFFFF_FFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF
    clock, node = entropy >> 48 & 0x3FFF, entropy & 0xFFFF_FFFF_FFFF
    return f"{low:08x}-{mid:04x}-{high | 0x1000:04x}-{clock | 0x8000:04x}-{node:012x}"


def _letters(rng: random.Random, count: int) -> str:
    return "".join(rng.choices(_LETTERS, k=count))
