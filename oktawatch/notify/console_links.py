"""Build links to events in an org's Okta admin console."""

import re
from datetime import timedelta
from urllib.parse import quote, urlsplit

from oktawatch.model.notification import EventReference

_match_okta_host = re.compile(
    r"([a-z0-9-]+)\.((?:okta|oktapreview|okta-emea|okta-gov)\.com|okta\.mil)"
).fullmatch
_is_uuid = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_MARGIN = timedelta(minutes=5)  # shown before and after the event


def event_link(org_url: str, event: EventReference) -> str | None:
    """Return the URL that shows an event in the System Log.

    The admin console of the org at ``acme.okta.com`` is at ``acme-admin.okta.com``. None if the console's host can't be
    derived (a custom domain), or if the uuid or the time can't be part of a link.
    """
    host = _match_okta_host(urlsplit(org_url).hostname or "")
    if host is None or not _is_uuid(event.uuid):
        return None
    search = quote(f'uuid eq "{event.uuid}"', safe="")
    try:
        begin, end = event.published - _MARGIN, event.published + _MARGIN
    except OverflowError:
        return None
    times = "&".join(
        f"{name}={quote(f'{moment:%Y-%m-%dT%H:%M:%SZ}', safe='')}"
        for name, moment in (("fromTime", begin), ("toTime", end))
    )
    return f"https://{host[1]}-admin.{host[2]}/report/system_log_2?search={search}&{times}"
