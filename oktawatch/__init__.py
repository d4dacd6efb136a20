"""Watch Okta's System Log for sign-ins from anonymizing proxies and related attacks."""

from typing import Any

__version__: str


def __getattr__(name: str) -> Any:
    """Return the version. It is read from the installed metadata only when needed, because that is slow."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version  # noqa: PLC0415 -- slow

    return version("oktawatch")
