"""The link that opens an event in the admin console."""

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from oktawatch.model.notification import EventReference
from oktawatch.notify.console_links import event_link

EVENT = EventReference("00000000-0000-4000-8000-000000000001", datetime(2026, 11, 2, 12, 0, tzinfo=UTC))


@pytest.mark.parametrize(
    ("org", "host"),
    [
        ("https://acme.okta.com", "acme-admin.okta.com"),
        ("https://acme.oktapreview.com", "acme-admin.oktapreview.com"),
        ("https://acme.okta-emea.com", "acme-admin.okta-emea.com"),
    ],
)
def test_the_link_opens_the_admin_console(org: str, host: str) -> None:
    """The link opens the org's admin console with a search for the event."""
    link = urlsplit(event_link(org, EVENT) or "")

    assert (link.scheme, link.hostname, link.path) == ("https", host, "/report/system_log_2")
    assert parse_qs(link.query) == {
        "search": [f'uuid eq "{EVENT.uuid}"'],
        "fromTime": ["2026-11-02T11:55:00Z"],
        "toTime": ["2026-11-02T12:05:00Z"],
    }


@pytest.mark.parametrize("org", ["https://login.acme.example.com", "http://127.0.0.1:8080", ""])
def test_no_link_without_a_known_host(org: str) -> None:
    """If the admin console's host can't be derived, there is no link."""
    assert event_link(org, EVENT) is None


@pytest.mark.parametrize("uuid", ['x" or true', "a" * 65, "", "../admin"])
def test_no_link_for_an_odd_uuid(uuid: str) -> None:
    """An unusual uuid, which a stranger may have chosen, has no link."""
    assert event_link("https://acme.okta.com", EventReference(uuid, EVENT.published)) is None


@pytest.mark.parametrize(
    "moment", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)]
)
def test_no_link_at_the_ends_of_the_calendar(moment: datetime) -> None:
    """A time near the limits of datetime has no link."""
    assert event_link("https://acme.okta.com", EventReference("a", moment)) is None
