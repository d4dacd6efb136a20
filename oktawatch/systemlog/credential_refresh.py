"""Reload a token or a service app's key that was renewed in its file, without a restart."""

from collections.abc import Callable
from typing import Any, Protocol

import structlog

from oktawatch.config.errors import ConfigError
from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.budget import RateBudget
from oktawatch.systemlog.errors import PermissionMissingError, TokenRefusedError
from oktawatch.systemlog.page import Page
from oktawatch.systemlog.priority import OrgPages, Priority

_log: Any = structlog.get_logger(__name__)


class Connect(Protocol):
    """Builds the client of an org."""

    def __call__(self, access: OrgAccess, /, *, budget: RateBudget) -> OrgPages:
        """Build a client with these credentials and the org's rate budget."""


class OrgSource:
    """Fetches the pages of an org. Reads the secret's file again if Okta refuses the secret or a permission is missing.

    If the secret has changed, the request is retried once.
    """

    def __init__(
        self,
        access: OrgAccess,
        connect: Connect,
        *,
        renew: Callable[[], OrgAccess],
        budget: RateBudget,
    ) -> None:
        """``renew`` reads the secret's file again; it may raise ConfigError. The old and the new secret share ``budget``."""
        self.budget = budget
        self._access = access
        self._connect = connect
        self._renew = renew
        self._source = connect(access, budget=budget)

    async def page(self, query: str, priority: Priority = Priority.POLL) -> Page:
        """Fetch the page at a path and query. Raises SystemLogError."""
        try:
            return await self._source.page(query, priority)
        except (TokenRefusedError, PermissionMissingError):
            if not self._renewed():
                raise
        return await self._source.page(query, priority)

    def _renewed(self) -> bool:
        """Reload the secret from its file; return whether it has changed."""
        try:
            access = self._renew()
        except ConfigError:
            return False  # Okta's error about the old secret is more helpful
        if access == self._access:
            return False
        _log.info("token_renewed", org=access.name)
        self._access = access
        self._source = self._connect(access, budget=self.budget)
        return True
