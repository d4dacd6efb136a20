"""Explain an event: what `oktawatch explain` does."""

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.explain import Explainer, Explanation
from oktawatch.engine.page_source import PageSource
from oktawatch.service.app import Application
from oktawatch.store.schema import require_current


async def explain_event(app: Application, event_uuid: str) -> Explanation | None:
    """Explain an event of one of the application's orgs; None if neither the database nor Okta has it.

    Raises ConfigError, StoreError, or SystemLogError.
    """
    enabled = frozenset(rule.id for rule in app.rules.rules)
    accesses, tls_context = app.accesses, app.tls_context
    database = DatabaseExecutor(app.database_url.get_secret_value())
    try:
        await database.run(require_current)
        # Importing the Okta SDK takes half a second and 65 MB, which a missing database needn't cost.
        from oktawatch.systemlog.client import LogClient  # noqa: PLC0415
        from oktawatch.systemlog.transport import open_session  # noqa: PLC0415

        async with open_session(tls_context) as session:
            sources: dict[str, PageSource] = {
                org: LogClient(access, session=session) for org, access in accesses.items()
            }
            explainer = Explainer(database, sources, list(app.rulebook.every.values()), enabled)
            return await explainer.explain(event_uuid)
    finally:
        database.close()
