"""Where an event is in an org's Okta admin console."""

import re
from datetime import timedelta
from urllib.parse import quote, urlsplit

from oktawatch.model.notification import EventReference

_OKTAS = re.compile(r"([a-z0-9-]+)\.((?:okta|oktapreview|okta-emea|okta-gov)\.com|okta\.mil)").fullmatch
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_AROUND = timedelta(minutes=5)  # what happened just before and after


def event_link(org_url: str, event: EventReference) -> str | None:
    """Give the address that shows an event in the System Log.

    The admin console is at ``acme-admin.okta.com`` for the org at ``acme.okta.com``; for an org that is
    known by a domain of its own nobody can tell, and there is no link.
    """
    host = _OKTAS(urlsplit(org_url).hostname or "")
    if host is None or not _PLAIN(event.uuid):
        return None
    search = quote(f'uuid eq "{event.uuid}"', safe="")
    try:
        begin, end = event.published - _AROUND, event.published + _AROUND
    except OverflowError:
        return None
    times = "&".join(
        f"{name}={quote(f'{moment:%Y-%m-%dT%H:%M:%SZ}', safe='')}"
        for name, moment in (("fromTime", begin), ("toTime", end))
    )
    return f"https://{host[1]}-admin.{host[2]}/report/system_log_2?search={search}&{times}"
