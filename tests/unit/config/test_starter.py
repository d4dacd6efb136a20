"""The configuration that `oktawatch init` writes."""

import re
from pathlib import Path

import pytest

from oktawatch import config, shipped
from oktawatch.config.starter import EXAMPLE, TOKEN_FILE, org_name, starter_configuration


def test_the_configuration_describes_the_org(tmp_path: Path) -> None:
    """The written configuration is valid, with the org's name and URL, the token's file and the database."""
    (tmp_path / TOKEN_FILE).write_text("00invented\n", "utf-8")
    text = starter_configuration(
        "https://corp.okta.com", database="sqlite:////var/lib/oktawatch/oktawatch.db"
    )
    (tmp_path / "oktawatch.toml").write_text(text, "utf-8")

    settings = config.load(environ={}, cwd=tmp_path)

    (org,) = settings.orgs
    assert (org.name, org.url, org.token_file) == ("corp", "https://corp.okta.com", tmp_path / TOKEN_FILE)
    assert settings.database.url.get_secret_value() == "sqlite:////var/lib/oktawatch/oktawatch.db"


def test_the_configuration_has_all_keys_of_the_example() -> None:
    """The configuration has every line of the example. Only the first line and the org's values differ."""
    (first, *example) = shipped.read(EXAMPLE).splitlines()
    (head, *written) = starter_configuration("https://corp.okta.com").splitlines()

    assert head == "# oktawatch's configuration. After a change, run 'oktawatch check'."
    assert first.startswith("# oktawatch's configuration. ")
    changed = [(old, new) for old, new in zip(example, written, strict=True) if old != new]

    assert [re.match(r"(\w+) = ", new)[1] for _, new in changed] == ["name", "url", "token_file"]  # type: ignore[index]
    assert all(old.partition("#")[2] == new.partition("#")[2] for old, new in changed)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://acme.okta.com", "acme"),
        ("https://acme.oktapreview.com", "acme"),
        ("https://login.example.com", "login"),
        ("http://127.0.0.1:8080", "127.0.0.1"),
        ("http://[::1]:8080", "::1"),
        ("http://localhost:8080", "localhost"),
    ],
)
def test_the_name_of_the_org(url: str, name: str) -> None:
    """An org is named by the first label of its host, or by its address."""
    assert org_name(url) == name
