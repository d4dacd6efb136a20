"""Explain an event: the command `oktawatch explain`."""

from contextlib import AsyncExitStack

from oktawatch.config.errors import ConfigError
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.explain import Explainer, Explanation
from oktawatch.engine.page_source import PageSource
from oktawatch.service.app import Application
from oktawatch.service.connections import connections
from oktawatch.store.schema import require_current
from oktawatch.systemlog.budget import RateBudget
from oktawatch.systemlog.errors import UnavailableError
from oktawatch.systemlog.page import Page


class _NoAccess:
    """A page source without credentials. Because of its error, `Explainer` uses only stored data."""

    def __init__(self, problem: str) -> None:
        self._problem = problem

    async def page(self, query: str) -> Page:  # noqa: ARG002 -- the signature is PageSource's
        """Raise UnavailableError."""
        raise UnavailableError(self._problem)


async def explain_event(app: Application, event_uuid: str) -> Explanation | None:
    """Explain an event of one of the application's orgs. Return None if neither the database nor Okta has it.

    Each org's credentials are read separately. For an org whose credentials can't be used, only stored data is used. Raises
    ConfigError, StoreError or SystemLogError.
    """
    enabled = frozenset(rule.id for rule in app.rules.rules)
    if app.allow.classifies:
        app.load_evidence()
    database = DatabaseExecutor(app.database_url.get_secret_value())
    try:
        await database.run(require_current)
        async with AsyncExitStack() as stack:
            sources = await _sources(app, stack)
            explainer = Explainer(
                database,
                sources,
                list(app.rulebook.every.values()),
                enabled,
                allow=app.allow,
                org_tags=app.org_tags,
            )
            return await explainer.explain(event_uuid)
    finally:
        database.close()


async def _sources(app: Application, stack: AsyncExitStack) -> dict[str, PageSource]:
    """Return the page source of each org, by name: `_NoAccess` if its credentials or `poll.ca_file` can't be used."""
    try:
        connect = await stack.enter_async_context(connections(app.tls_context))
    except ConfigError as error:
        return dict.fromkeys(app.orgs, _NoAccess(str(error)))
    sources: dict[str, PageSource] = {}
    for org in app.orgs:
        try:
            # The settings were loaded without secrets, so this reads the secret's file.
            access = app.access(org, renewed=True)
        except ConfigError as error:
            sources[org] = _NoAccess(str(error))
        else:
            sources[org] = connect(access, budget=RateBudget(app.rate_limit_share))
    return sources
