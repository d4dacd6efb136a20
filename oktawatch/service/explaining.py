"""What `oktawatch explain` does: orgs' System Logs and the database, held against each other."""

from collections.abc import Sequence

from oktawatch.config import OrgSettings, Settings
from oktawatch.engine.assembly import every_rule, make_access, make_tls_context
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.explain import Explainer, Explanation
from oktawatch.engine.page_source import PageSource
from oktawatch.store.schema import require_current


async def explain_event(
    settings: Settings, orgs: Sequence[OrgSettings], event_uuid: str
) -> Explanation | None:
    """Explain an event of one of these orgs; None when neither the database nor Okta knows it.

    Raises ConfigError, StoreError, or SystemLogError.
    """
    rules, enabled = every_rule(settings)
    accesses = [make_access(settings, org) for org in orgs]
    trust = make_tls_context(settings)
    database = DatabaseExecutor(settings.database.url.get_secret_value())
    try:
        await database.run(require_current)
        # Half a second and 65 MB, which who has no database doesn't pay.
        from oktawatch.systemlog.client import LogClient  # noqa: PLC0415
        from oktawatch.systemlog.transport import open_session  # noqa: PLC0415

        async with open_session(trust) as session:
            sources: dict[str, PageSource] = {
                access.name: LogClient(access, session=session) for access in accesses
            }
            return await Explainer(database, sources, rules, enabled).explain(event_uuid)
    finally:
        database.close()
