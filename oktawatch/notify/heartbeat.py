"""The heartbeat: a regular request to an external service, which raises an alarm when the requests stop.

oktawatch can't report that it has stopped running. So a process requests the service's URL each time all of its orgs
have been polled successfully.

The URL is a secret: anyone who knows it can send requests and so suppress the alarm.
"""

from http import HTTPStatus

from oktawatch.notify.channel import DIRECT, DeliveryError, Way

_TIMEOUT_S = 10


async def send_heartbeat(url: str, way: Way = DIRECT) -> None:
    """Request the URL once. Raises DeliveryError unless the status is 2xx."""
    import aiohttp  # noqa: PLC0415 -- only needed where a heartbeat is configured

    from oktawatch.resolver import Resolver  # noqa: PLC0415 -- only needed where a heartbeat is configured

    one_request_session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=Resolver()),
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
    try:
        async with (
            one_request_session as session,
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
