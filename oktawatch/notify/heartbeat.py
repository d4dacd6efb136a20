"""The heartbeat: a request that a dead man's switch waits for.

Whoever is to notice that this program runs no more can't be this program. So a service elsewhere is asked
for an address after each good round, and raises an alarm when it is not asked for a while.

The address is a secret: whoever knows it can keep the switch quiet.
"""

from http import HTTPStatus

from oktawatch.notify.channel import DIRECT, DeliveryError, Way

_PATIENCE = 10  # seconds


async def beat(url: str, way: Way = DIRECT) -> None:
    """Request the address once. Raises DeliveryError when it does not answer well."""
    import aiohttp  # noqa: PLC0415 -- only who has such a service pays for it

    from oktawatch.resolver import Resolver  # noqa: PLC0415 -- as above

    session_for_one_request = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=Resolver()),
        timeout=aiohttp.ClientTimeout(total=_PATIENCE),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
    try:
        async with (
            session_for_one_request as session,
            session.get(url, allow_redirects=False, proxy=way.proxy, ssl=way.trust or True) as response,
        ):
            status = response.status
    except TimeoutError:
        raise DeliveryError(f"no answer within {_PATIENCE} s") from None
    except (aiohttp.ClientError, ValueError) as error:
        # Not its own words: they quote the address.
        raise DeliveryError(f"no answer: {type(error).__name__}") from None
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        raise DeliveryError(f"status {status}")
