"""Connect to orgs, importing the Okta SDK only when `connections` is entered.

The import takes half a second and 65 MB, which commands that make no requests should not spend.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from oktawatch.systemlog.credential_refresh import Connect


@asynccontextmanager
async def connections(tls_context: ssl.SSLContext | None) -> AsyncIterator[Connect]:
    """Yield the function that builds clients with shared connections. Without ``tls_context``, trust the system's CAs."""
    from oktawatch.systemlog.client import LogClient  # noqa: PLC0415 -- imports the SDK, see above
    from oktawatch.systemlog.transport import open_session  # noqa: PLC0415 -- imports the SDK, see above

    async with open_session(tls_context) as session:
        yield partial(LogClient, session=session)
