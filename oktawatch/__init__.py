"""Watch Okta's System Log for sign-ins from anonymizing proxies and related attacks."""

from importlib.metadata import version

__version__ = version("oktawatch")
