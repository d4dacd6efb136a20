"""The next link is parsed by its grammar, and never leads to another host."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.systemlog.links import next_query
from tests.support.shared import shared_data

URL = "https://acme.okta.com"
SELF = f'<{URL}/api/v1/logs?limit=2>; rel="self"'
NEXT = f'<{URL}/api/v1/logs?after=1627500044869_1&limit=2>; rel="next"'
QUERY = "/api/v1/logs?after=1627500044869_1&limit=2"


@pytest.mark.parametrize(
    "values",
    [
        [SELF, NEXT],
        [NEXT, SELF],
        [f"{SELF}, {NEXT}"],
        [f"{SELF},{NEXT}"],
        [f"{SELF} {NEXT}"],
        [f" , {NEXT} , "],
        [NEXT.replace('"next"', "next")],
        [NEXT.replace("rel", "REL")],
        [NEXT.replace('"next"', '"last Next"')],
        [NEXT.replace("; rel", ' ; title="a, b <c>; \\" rel=x"; rel')],
        [NEXT.replace(URL, "https://ACME.okta.com:443")],
        [NEXT.replace(URL, "")],
        [NEXT.replace(">", "#top>", 1)],
    ],
)
def test_the_next_link_is_found(values: list[str]) -> None:
    """The next link is found on one or two lines, in any order and spelling."""
    assert next_query(values, URL) == QUERY


def test_a_url_may_contain_commas_and_semicolons() -> None:
    """A link's URL may contain commas and semicolons."""
    target = "/api/v1/logs?after=a,b;c&filter=eventType%20eq%20%22x%22,%3E"
    joined = f'{SELF.replace("limit=2", "q=a,b;rel=next")}, <{URL}{target}>; rel="next"'
    assert next_query([joined], URL) == target


def test_path_and_query_are_unchanged() -> None:
    """Path and query are kept unchanged, because encoding them again could change the cursor."""
    target = "/api/v1/logs?after=%7e%7E+%20~&limit=2&filter=a%2Cb&"
    assert next_query([f'<{URL}{target}>; rel="next"'], URL) == target


@pytest.mark.parametrize(
    "values", [[], [""], [SELF], [NEXT.replace("next", "prev")], [NEXT.replace("next", "nextish")]]
)
def test_a_header_with_only_a_self_link_has_no_next_link(values: list[str]) -> None:
    """A header with only a `self` link has no next link, as on the last page of a bounded read."""
    assert next_query(values, URL) is None


def test_only_the_first_rel_of_a_link_counts() -> None:
    """Only the first `rel` of a link counts, as RFC 8288 requires."""
    assert next_query([f'<{URL}/api/v1/logs?a>; rel="self"; rel="next"'], URL) is None


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example.com/api/v1/logs?after=1",
        "https://acme.okta.com.evil.example.com/api/v1/logs?after=1",
        "https://acme.okta.com@evil.example.com/api/v1/logs?after=1",
        "https://evil.example.com/api/v1/logs?x=https://acme.okta.com",
        "http://acme.okta.com/api/v1/logs?after=1",
        "https://acme.okta.com:8443/api/v1/logs?after=1",
        "https://acme.okta.com:x/api/v1/logs?after=1",
        "https://[::1/api/v1/logs?after=1",
        "//evil.example.com/api/v1/logs?after=1",
        "https://acme.okta.com\\@evil.example.com/api/v1/logs?after=1",
        "https:/api/v1/logs?after=1",
        "@evil.example.com/api/v1/logs?after=1",
        "https://acme.okta.com/api/v1/users?after=1",
        "https://acme.okta.com/api/v1/logs/../users?after=1",
        "https://acme.okta.com/api/v1/logs",
        "https://acme.okta.com/api/v1/logs?after=1 HTTP/1.1",
        "https://acme.okta.com/api/v1/logs?after=\x00",
        "https://acme.okta.com/api/v1/logs?after=\u00e9",
        "",
    ],
)
def test_a_link_to_another_host_or_path_is_refused(target: str) -> None:
    """A link to another host or path raises ValueError, because requests contain the token."""
    with pytest.raises(ValueError, match=r"."):
        next_query([f'<{target}>; rel="next"'], URL)


@pytest.mark.parametrize(
    "value", ["next", "<", f"{SELF}; ;", "<a<b>", 'x, <y>; rel="next"', '<y>; rel="next']
)
def test_an_unreadable_header_is_not_the_end_of_the_stream(value: str) -> None:
    """An unreadable Link header is not taken for the end of the stream."""
    with pytest.raises(ValueError, match="malformed Link header"):
        next_query([value], URL)


@given(st.lists(st.text(alphabet='<>;,="\\ relnxt/?:@[]', max_size=40), max_size=3))
def test_any_header_is_parsed_or_refused(values: list[str]) -> None:
    """Any header is parsed to a path of the System Log or raises ValueError."""
    try:
        found = next_query(values, URL)
    except ValueError:
        return
    assert found is None or found.startswith("/api/v1/logs?")


def test_parsing_a_hostile_header_takes_linear_time() -> None:
    """Parsing a hostile header takes time linear in its length."""
    for value in (
        "<" * 8_000,
        "<a>" + "; rel" * 2_000 + '"',
        '<a>; x="' + "\\" * 8_001,
        "<a>;" + " " * 8_000 + '"',
    ):
        with pytest.raises(ValueError, match=r"."):
            next_query([value], URL)


def _recorded_links() -> Iterator[list[str]]:
    for name in (
        "TestApplicationsResource.test_list_applications_pagination_with_after.yaml",
        "TestDPoPBackwardCompatibility.test_ssws_auth_unchanged.yaml",
    ):
        recorded: dict[str, Any] = yaml.safe_load(shared_data(f"okta-sdk-cassettes/{name}").read_text())
        for interaction in recorded["interactions"]:
            headers = {key.lower(): values for key, values in interaction["response"]["headers"].items()}
            if "link" in headers:
                yield headers["link"]


def test_recorded_links_are_parsed() -> None:
    """Recorded pairs of links have a format that is parsed, with another collection's path."""
    pairs = list(_recorded_links())
    assert len(pairs) >= 3
    for pair in pairs:
        as_logs = [
            value.replace("/api/v1/apps", "/api/v1/logs").replace("/api/v1/users", "/api/v1/logs")
            for value in pair
        ]
        host = as_logs[0].removeprefix("<").partition("/api/")[0]
        nexts = [value for value in as_logs if 'rel="next"' in value]
        expected = nexts[0].removeprefix(f"<{host}").partition(">")[0] if nexts else None
        assert next_query(as_logs, host) == next_query([", ".join(as_logs)], host) == expected
