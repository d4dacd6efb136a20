"""URLs and addresses are validated before anything is sent to them."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.config import ConfigError, Settings
from oktawatch.config.validators import (
    check_https,
    check_listen,
    check_org_url,
    correct_org_url,
    is_loopback,
)

Load = Callable[..., Settings]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://acme.okta.com", "https://acme.okta.com"),
        ("https://acme.okta.com/", "https://acme.okta.com"),
        ("HTTPS://Acme.Okta.com", "https://acme.okta.com"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_orgs_url_is_scheme_and_host(url: str, expected: str) -> None:
    """A valid URL of an org is reduced to its scheme and host, to which Okta's paths are appended."""
    assert check_org_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "acme.okta.com",
        "https://",
        "https:///x",
        "http://acme.okta.com",
        "http://128.0.0.1",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://localhost@acme.okta.com",
        "http://localhost:x@acme.okta.com",
        "http://localhost\\@acme.okta.com",
        "http://127.1",
        "http://[::2]",
        "http://[::1",
        "https://user:word@acme.okta.com",
        "https://acme.okta.com/api",
        "https://acme.okta.com?x=1",
        "https://acme.okta.com?",
        "https://acme.okta.com#x",
        "https://acme.okta.com:port",
        "https://acme.okta.com:99999",
        "https://acme.okta.com:0",
        "https://acme okta.com",
        "https://acme.okta.com\n",
        "https://acme.okta.com\x00",
        "https://äcme.okta.com",
        "https://acme-admin.okta.com",
        "ftp://acme.okta.com",
    ],
)
def test_an_invalid_org_url_is_refused(url: str) -> None:
    """A URL that could leak the token, or can't be an org's address, is refused."""
    with pytest.raises(ValueError, match="expected"):
        check_org_url(url)


@given(st.text())
def test_any_text_is_accepted_or_refused(text: str) -> None:
    """Any text is accepted, or refused with an error that says what is expected."""
    for check in (check_org_url, check_https, check_listen):
        try:
            check(text)
        except ValueError as wrong:
            assert str(wrong).startswith("expected")  # noqa: PT017 -- most texts are refused, not all


@given(st.ip_addresses(v=4))
def test_http_is_only_for_this_machine(address: object) -> None:
    """Of all IPv4 addresses, only 127.0.0.0/8 is loopback."""
    assert is_loopback(str(address)) == str(address).startswith("127.")


@pytest.mark.parametrize("address", ["", "127.0.0.1:9464", "[::1]:9464", "0.0.0.0:80", "localhost:9464"])
def test_a_listen_address_is_host_and_port(address: str) -> None:
    """HOST:PORT and an empty string are valid listen addresses."""
    assert check_listen(address) == address


def test_the_name_of_an_org_is_its_host_by_default(load: Load) -> None:
    """An org without a name is named by its host. Two such orgs on one host are refused."""
    org = '[[orgs]]\nurl = "http://127.0.0.1:{}"\ntoken = "00t"\n'
    assert load(orgs=org.format(8080)).orgs[0].name == "127.0.0.1"
    with pytest.raises(ConfigError, match=r"orgs\[#2\]\.name\): expected a unique name"):
        load(orgs=org.format(8080) + org.format(8081))


def test_notifiers_reach_orgs_by_name_and_tag(load: Load) -> None:
    """A notifier's orgs can be names, tags and ``*``."""
    settings = load(
        '[[notifiers]]\ntype = "log"\norgs = ["acme", "#eu", "*"]',
        orgs='[[orgs]]\nname = "acme"\nurl = "https://a.okta.com"\ntoken = "00t"\ntags = ["eu"]',
    )
    assert settings.notifiers[0].orgs == ("acme", "#eu", "*")


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("https://acme.okta.com", "https://acme.okta.com"),
        (" acme.okta.com\n", "https://acme.okta.com"),
        ("ACME.okta.com", "https://acme.okta.com"),
        ("https://acme-admin.okta.com/admin/dashboard?x=1#y", "https://acme.okta.com"),
        ("acme-admin.oktapreview.com", "https://acme.oktapreview.com"),
        ("https://acme.okta.com:8443/", "https://acme.okta.com:8443"),
        ("http://localhost:8080", "http://localhost:8080"),
    ],
)
def test_a_typed_url_is_corrected(typed: str, url: str) -> None:
    """A URL that a person copied from a browser or typed is corrected."""
    assert correct_org_url(typed) == url
    assert check_org_url(url) == url


@pytest.mark.parametrize(
    "typed", ["", "http://acme.okta.com", "ftp://acme.okta.com", "a b", "https://", "acme:99999"]
)
def test_a_typed_url_that_is_wrong(typed: str) -> None:
    """A text that can't be an org's URL is refused with an error that says what is expected."""
    with pytest.raises(ValueError, match="expected a"):
        correct_org_url(typed)
