"""A token, or a service app's key, that is renewed in its file is taken up without a restart."""

from typing import Any, Protocol

import structlog

from oktawatch.config import ConfigError, OrgSettings, Settings
from oktawatch.engine.assembly import make_access
from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.budget import RateBudget
from oktawatch.systemlog.errors import PermissionMissingError, TokenRefusedError
from oktawatch.systemlog.page import Page
from oktawatch.systemlog.priority import OrgPages, PagesAt, Priority

_log: Any = structlog.get_logger(__name__)


class Connect(Protocol):
    """Makes what reads an org: `systemlog.client.LogClient`, with connections to share."""

    def __call__(self, access: OrgAccess, /, *, budget: RateBudget) -> OrgPages:
        """Make it with these credentials, under the org's budget."""


class OrgSource:
    """An org's pages, with the secret of the start, or what its file holds once Okta refuses that one."""

    def __init__(self, settings: Settings, org: OrgSettings, access: OrgAccess, connect: Connect) -> None:
        self._settings = settings
        self._org = org
        self._access = access
        self._connect = connect
        self.budget = RateBudget(settings.poll.rate_limit_share)
        """Outlasts any token."""
        self._source = connect(access, budget=self.budget)

    async def page(self, query: str, priority: Priority = Priority.POLL) -> Page:
        """Fetch the page at a path and query; raise SystemLogError."""
        try:
            return await self._source.page(query, priority)
        except (TokenRefusedError, PermissionMissingError):
            if not self._renewed():
                raise
        return await self._source.page(query, priority)

    def at(self, priority: Priority) -> PagesAt:
        """Give the same pages for who has another priority."""
        return PagesAt(self, priority)

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
        self._source = self._connect(access, budget=self.budget)
        return True
