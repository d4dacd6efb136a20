"""The heartbeat: a request that a dead man's switch waits for.

A program can't notice that it has stopped running. So a URL of an external service is requested after each
good round, and the service raises an alarm when the requests stop.

The URL is a secret: anyone who knows it can keep the switch from raising its alarm.
"""

from http import HTTPStatus

from oktawatch.notify.channel import DIRECT, DeliveryError, Way

_TIMEOUT_S = 10


async def beat(url: str, way: Way = DIRECT) -> None:
    """Request the URL once. Raises DeliveryError unless the status is 2xx."""
    import aiohttp  # noqa: PLC0415 -- only needed where a heartbeat is configured

    from oktawatch.resolver import Resolver  # noqa: PLC0415 -- only needed where a heartbeat is configured

    session_for_one_request = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=Resolver()),
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
    try:
        async with (
            session_for_one_request as session,
            session.get(url, allow_redirects=False, proxy=way.proxy, ssl=way.trust or True) as response,
        ):
            status = response.status
    except TimeoutError:
        raise DeliveryError(f"no answer within {_TIMEOUT_S} s") from None
    except (aiohttp.ClientError, ValueError) as error:
        # aiohttp's own text quotes the URL.
        raise DeliveryError(f"no answer: {type(error).__name__}") from None
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        raise DeliveryError(f"status {status}")
