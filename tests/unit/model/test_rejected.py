"""The elements of a page that are not usable events."""

from oktawatch.model.rejected import RejectedEvent


def test_the_same_bytes_have_the_same_fingerprint() -> None:
    """The same bytes have the same fingerprint for any reason, so they are stored once."""
    assert RejectedEvent("one", b"x").fingerprint == RejectedEvent("other", b"x").fingerprint
    assert RejectedEvent("one", b"x").fingerprint != RejectedEvent("one", b"y").fingerprint


def test_a_repr_contains_none_of_the_bytes() -> None:
    """The repr of a rejected event contains none of its bytes."""
    assert (
        repr(RejectedEvent("no usable uuid", b"hunter2")) == "RejectedEvent(reason='no usable uuid', 7 bytes)"
    )
