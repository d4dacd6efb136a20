"""The selection of the proxy for an org."""

from collections.abc import Callable

import pytest

from oktawatch.config import ConfigError, Settings

Load = Callable[..., Settings]

ORG = "https://acme.okta.com"
PROXY = "http://proxy.example.com:3128"
CONFIGURED = f'[poll]\nproxy = "{PROXY}"'


def _proxy(settings: Settings, url: str = ORG) -> str | None:
    proxy = settings.proxy_for(url)
    return None if proxy is None else proxy.get_secret_value()


def test_without_a_proxy_connections_are_direct(load: Load) -> None:
    """Without a proxy, connections are direct."""
    assert _proxy(load()) is None


def test_the_configured_proxy_is_used_for_all_urls(load: Load) -> None:
    """The configured proxy takes precedence over the one in the environment."""
    settings = load(CONFIGURED, HTTPS_PROXY="http://other.example.com:1")
    assert _proxy(settings) == PROXY
    assert _proxy(settings, "http://127.0.0.1:8080") == PROXY


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_the_environments_proxy_is_used_for_https(load: Load, name: str) -> None:
    """HTTPS_PROXY is used for https URLs only, so a simulated org is reached directly."""
    settings = load(**{name: PROXY})
    assert _proxy(settings) == PROXY
    assert _proxy(settings, "http://127.0.0.1:8080") is None
    assert _proxy(load(**{name: "proxy.example.com:3128"})) == PROXY


def test_other_variables_select_no_proxy(load: Load) -> None:
    """``HTTP_PROXY`` and empty variables select no proxy."""
    assert _proxy(load(HTTP_PROXY=PROXY, ALL_PROXY=PROXY, HTTPS_PROXY="")) is None


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("*", ORG),
        ("acme.okta.com", ORG),
        ("ACME.okta.com", ORG),
        ("okta.com", ORG),
        (".okta.com", ORG),
        ("*.okta.com", ORG),
        ("acme.okta.com:443", ORG),
        ("example.com, okta.com", ORG),
        ("example.com okta.com", ORG),
        ("okta.com", "https://acme.okta.com."),
        ("acme.okta.com:8443", "https://acme.okta.com:8443"),
        ("127.0.0.1", "https://127.0.0.1:8443"),
        ("127.0.0.0/8", "https://127.0.0.1:8443"),
        ("127.0.0.1:8443", "https://127.0.0.1:8443"),
        ("2001:db8::1", "https://[2001:db8::1]"),
        ("[2001:db8::1]:443", "https://[2001:db8::1]"),
        ("2001:db8::/32", "https://[2001:db8::1]:8443"),
    ],
)
def test_hosts_in_no_proxy_are_reached_directly(load: Load, no_proxy: str, url: str) -> None:
    """Hosts in ``NO_PROXY`` are reached directly, as with curl and Go."""
    assert _proxy(load(CONFIGURED, NO_PROXY=no_proxy), url) is None
    assert _proxy(load(HTTPS_PROXY=PROXY, no_proxy=no_proxy), url) is None


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("", ORG),
        (",, ,", ORG),
        (".", ORG),
        (":443", ORG),
        ("example.com", ORG),
        ("kta.com", ORG),
        ("acme.okta.com.example.com", ORG),
        ("acme.okta.com:8443", ORG),
        ("127.0.0.2", "https://127.0.0.1"),
        ("10.0.0.0/8", ORG),
        ("10.0.0.0/8", "https://127.0.0.1"),
        ("2001:db8::/32", "https://127.0.0.1"),
        ("[::1", ORG),
    ],
)
def test_other_hosts_are_reached_through_the_proxy(load: Load, no_proxy: str, url: str) -> None:
    """An entry of ``NO_PROXY`` matches whole labels of a host name, its port, and addresses in its network."""
    assert _proxy(load(CONFIGURED, NO_PROXY=no_proxy), url) == PROXY


@pytest.mark.parametrize(
    "proxy",
    ["socks5://proxy.example.com:1080", "http://", "http://u:s3cr\u20act@proxy.example.com", "http://a b"],
)
def test_an_unusable_proxy_is_an_error(load: Load, proxy: str) -> None:
    """The error names the variable or the key, without its value."""
    with pytest.raises(ConfigError, match=r"environment: HTTPS_PROXY\): expected") as caught:
        load(HTTPS_PROXY=proxy)
    assert "s3cr" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"poll\.proxy\): expected"):
        load(f'[poll]\nproxy = "{proxy}"')


def test_the_environments_password_is_a_secret(load: Load) -> None:
    """The password in HTTPS_PROXY is masked like a configured one."""
    settings = load(HTTPS_PROXY="http://u:s3cr%2Fet@proxy.example.com")
    assert {"s3cr%2Fet", "s3cr/et"} <= set(settings.secrets())
    assert "s3cr" not in repr(settings)
