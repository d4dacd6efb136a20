"""A token, or a service app's key, that is renewed in its file is taken up without a restart."""

from collections.abc import Callable
from typing import Any

import structlog

from oktawatch.config import ConfigError, OrgSettings, Settings
from oktawatch.engine.assembly import make_access
from oktawatch.engine.source import PageSource
from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.errors import PermissionMissingError, TokenRefusedError
from oktawatch.systemlog.page import Page

_log: Any = structlog.get_logger(__name__)

Connect = Callable[[OrgAccess], PageSource]


class OrgSource:
    """An org's pages, with the secret of the start, or what its file holds once Okta refuses that one."""

    def __init__(self, settings: Settings, org: OrgSettings, access: OrgAccess, connect: Connect) -> None:
        self._settings = settings
        self._org = org
        self._access = access
        self._connect = connect
        self._source = connect(access)

    async def page(self, query: str) -> Page:
        """Fetch the page at a path and query; raise SystemLogError."""
        try:
            return await self._source.page(query)
        except (TokenRefusedError, PermissionMissingError):
            if not self._renewed():
                raise
        return await self._source.page(query)

    def _renewed(self) -> bool:
        """Take up the secret that the file holds by now; tell whether it is another one."""
        try:
            access = make_access(self._settings, self._org, renewed=True)
        except ConfigError:
            return False  # what Okta said of the old one is the better error
        if access == self._access:
            return False
        _log.info("token_renewed", org=self._org.name)
        self._access = access
        self._source = self._connect(access)
        return True
