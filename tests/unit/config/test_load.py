"""The configuration is found, and its sources take precedence in order."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from oktawatch import config
from oktawatch.config import ConfigError, Settings, sources

Load = Callable[..., Settings]
ORG = '[[orgs]]\nname = "acme"\nurl = "https://acme.okta.com"\ntoken = "00inline"\n'
SDK = {"OKTA_CLIENT_ORGURL": "https://acme.okta.com/", "OKTA_CLIENT_TOKEN": "00fromsdk"}
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEexample\n-----END PRIVATE KEY-----"


def test_only_an_org_is_required(load: Load) -> None:
    """All settings except the org have defaults."""
    settings = load()
    assert [org.name for org in settings.orgs] == ["acme"]
    assert settings.poll.interval == timedelta(seconds=30)
    assert [notifier.type for notifier in settings.notifiers] == ["log"]


def test_a_named_file_comes_first(tmp_path: Path) -> None:
    """The order of precedence is --config, $OKTAWATCH_CONFIG, the working directory, /etc."""
    etc = tmp_path / "etc"
    etc.mkdir()
    for file in (
        tmp_path / "oktawatch.toml",
        etc / "oktawatch.toml",
        tmp_path / "a.toml",
        tmp_path / "b.toml",
    ):
        file.write_text(ORG)
    variable = {"OKTAWATCH_CONFIG": "b.toml"}
    assert config.load(Path("a.toml"), environ=variable, cwd=tmp_path).source == tmp_path / "a.toml"
    assert config.load(environ=variable, cwd=tmp_path).source == tmp_path / "b.toml"
    assert config.load(environ={}, cwd=tmp_path).source == tmp_path / "oktawatch.toml"
    (tmp_path / "oktawatch.toml").unlink()
    found = config.load(environ={}, cwd=tmp_path)
    assert (found.source, found.folder) == (etc / "oktawatch.toml", etc)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    """A configuration file that is named explicitly must exist."""
    (tmp_path / "oktawatch.toml").write_text(ORG)
    with pytest.raises(
        ConfigError, match=r"no configuration file \(.*gone\.toml\): expected a TOML file there"
    ):
        config.load(Path("gone.toml"), environ={}, cwd=tmp_path)


def test_a_file_that_is_a_folder_is_an_error(tmp_path: Path) -> None:
    """A configuration file that can't be read is an error in one line with its name."""
    with pytest.raises(ConfigError, match=r"unreadable file \(.*\): Is a directory"):
        config.load(tmp_path, environ={}, cwd=tmp_path)


def test_a_missing_configuration_is_reported_with_the_searched_places(tmp_path: Path) -> None:
    """The error names the places that were searched, and `oktawatch init`."""
    with pytest.raises(ConfigError) as caught:
        config.load(environ={"OKTA_CLIENT_TOKEN": "00token"}, cwd=tmp_path)
    text = str(caught.value)
    assert str(tmp_path / "oktawatch.toml") in text
    assert str(sources.SYSTEM_FILE) in text
    assert "run 'oktawatch init'" in text


def test_a_file_without_orgs_is_refused(load: Load) -> None:
    """A file without orgs is an error, even if the SDK's variables describe an org."""
    with pytest.raises(ConfigError, match=r"no org \(.*oktawatch\.toml: orgs\): expected at least one"):
        load(orgs="", **SDK)


def test_orgs_d_adds_orgs(load: Load, tmp_path: Path) -> None:
    """The files of orgs.d are read in the order of their names. Their secrets are in the configuration's folder."""
    folder = tmp_path / "orgs.d"
    folder.mkdir()
    (tmp_path / "b.token").write_text("00b")
    (folder / "20.toml").write_text('[[orgs]]\nurl = "https://c.okta.com"\ntoken = "00c"\n')
    (folder / "10.toml").write_text('[[orgs]]\nurl = "https://b.okta.com"\ntoken_file = "b.token"\n')
    (folder / ".hidden.toml").write_text("not TOML")
    (folder / "notes.txt").write_text("not TOML")
    assert [org.name for org in load().orgs] == ["acme", "b.okta.com", "c.okta.com"]
    assert [org.name for org in load(orgs="").orgs] == ["b.okta.com", "c.okta.com"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[poll]\ninterval = "1s"', r"unknown key \(.*10\.toml: poll\): expected only \[\[orgs\]\]"),
        ("orgs = 3", r"wrong value \(.*10\.toml: orgs\): expected \[\[orgs\]\]"),
        ('[[orgs]]\nname = "b"\nurl = 3\ntoken = "00b"', r"wrong value \(.*10\.toml: orgs\[b\]\.url\)"),
        (
            '[[orgs]]\nname = "acme"\nurl = "https://b.okta.com"\ntoken = "00b"',
            r"10\.toml: orgs\[acme\]\.name",
        ),
        ("[[orgs", r"not valid TOML \(.*10\.toml, line 1, column \d+\)"),
    ],
)
def test_an_error_in_orgs_d_names_the_file(load: Load, tmp_path: Path, text: str, message: str) -> None:
    """An error in orgs.d names the file."""
    (tmp_path / "orgs.d").mkdir()
    (tmp_path / "orgs.d" / "10.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load()


def test_an_unreadable_orgs_d_is_an_error(load: Load, tmp_path: Path) -> None:
    """An unreadable folder is an error, because its orgs would not be watched."""
    (tmp_path / "orgs.d").symlink_to("orgs.d")  # a loop: unreadable for root, too
    with pytest.raises(ConfigError, match=r"unreadable folder \(.*orgs\.d\)"):
        load()


def test_variables_override_the_file(load: Load) -> None:
    """Variables override each type of value in the file. Other values come from the file."""
    settings = load(
        '[poll]\ninterval = "1m"\npage_size = 500\n[retention]\nevents = "3d"',
        OKTAWATCH__POLL__INTERVAL="5m",
        OKTAWATCH__POLL__RATE_LIMIT_SHARE="0.25",
        OKTAWATCH__DATABASE__AUTO_UPGRADE="True",
        OKTAWATCH__DETECTION__ENABLE='["Okta.*"]',
        OKTAWATCH__SERVICE__LOG_LEVEL="DEBUG",
    )
    assert settings.poll.interval == timedelta(minutes=5)
    assert (settings.poll.page_size, settings.poll.rate_limit_share) == (500, 0.25)
    assert settings.retention.events == timedelta(days=3)
    assert settings.database.auto_upgrade is True
    assert settings.detection.enable == ("Okta.*",)
    assert settings.service.log_level == "debug"


def test_a_list_of_tables_can_be_a_variable(tmp_path: Path) -> None:
    """Orgs can be configured in a variable as JSON, so a container needs no file."""
    orgs = '[{"url": "https://b.okta.com", "token_file": "b.token", "tags": ["eu"]}]'
    (tmp_path / "b.token").write_text("00b")
    settings = config.load(environ={"OKTAWATCH__ORGS": orgs}, cwd=tmp_path)
    assert [(org.name, org.tags) for org in settings.orgs] == [("b.okta.com", ("eu",))]
    assert (settings.source, settings.folder) == (None, tmp_path)


def test_a_variable_replaces_a_secret_and_its_file(load: Load, tmp_path: Path) -> None:
    """A variable ``x`` or ``x_file`` overrides both ``x`` and ``x_file`` in the file."""
    (tmp_path / "url").write_text("postgresql://from.file/a")
    set_by_file = load(
        '[database]\nurl_file = "url"', OKTAWATCH__DATABASE__URL="postgresql://from.variable/a"
    )
    assert set_by_file.database.url.get_secret_value() == "postgresql://from.variable/a"
    assert set_by_file.database.url_file is None
    set_by_text = load('[database]\nurl = "postgresql://from.text/a"', OKTAWATCH__DATABASE__URL_FILE="url")
    assert set_by_text.database.url.get_secret_value() == "postgresql://from.file/a"


def test_an_overridden_secret_file_is_not_read(load: Load) -> None:
    """A secret file can be missing if a variable overrides its key or the list with its key."""
    orgs = '[{"name": "b", "url": "https://b.okta.com", "token": "00b"}]'
    missing = '[[orgs]]\nname = "acme"\nurl = "https://acme.okta.com"\ntoken_file = "gone"\n'
    settings = load(
        '[database]\nurl_file = "gone"',
        orgs=missing,
        OKTAWATCH__ORGS=orgs,
        OKTAWATCH__DATABASE__URL="sqlite:////srv/o.db",
    )
    assert [org.name for org in settings.orgs] == ["b"]
    assert settings.database.url.get_secret_value() == "sqlite:////srv/o.db"


def test_a_mistake_in_a_list_from_a_variable_names_the_variable(load: Load) -> None:
    """The error names the variable even if the file has a list, too."""
    orgs = '[{"name": "b", "url": "b.okta.com", "token": "00b"}]'
    with pytest.raises(ConfigError, match=r"\(environment: OKTAWATCH__ORGS\[b\]\.url\): expected a URL"):
        load(OKTAWATCH__ORGS=orgs)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("OKTAWATCH__POLL__INTERVALL", "1m", "did you mean OKTAWATCH__POLL__INTERVAL?"),
        ("OKTAWATCH__POLL__interval", "1m", "unknown variable"),
        ("OKTAWATCH__POLL", "{}", "unknown variable"),
        ("OKTAWATCH__", "x", "unknown variable"),
        ("OKTAWATCH__ORGS__0__URL", "https://b.okta.com", "unknown variable"),
        ("OKTAWATCH__RULES__A__ENABLED", "true", "expected in a file"),
        ("OKTAWATCH__POLL__PAGE_SIZE", "many", "expected a whole number"),
        ("OKTAWATCH__POLL__PAGE_SIZE", "1.5", "expected a whole number"),
        ("OKTAWATCH__POLL__PAGE_SIZE", "true", "expected a whole number"),
        ("OKTAWATCH__POLL__PAGE_SIZE", "2000", "expected at most 1000"),
        ("OKTAWATCH__POLL__RATE_LIMIT_SHARE", "nan", "expected a number"),
        ("OKTAWATCH__POLL__INTERVAL", "30", "expected a duration"),
        ("OKTAWATCH__DATABASE__AUTO_UPGRADE", "yes", "expected true or false"),
        ("OKTAWATCH__DETECTION__ENABLE", "Okta.*", "expected a list in JSON"),
        ("OKTAWATCH__NOTIFIERS", "log", "expected a list in JSON"),
        ("OKTAWATCH__SERVICE__LOG_FORMAT", "xml", "expected 'auto', 'console' or 'json'"),
    ],
)
def test_a_wrong_variable_is_named(load: Load, name: str, value: str, message: str) -> None:
    """An unknown variable, or one with an invalid value, is an error that names it."""
    with pytest.raises(ConfigError) as caught:
        load(**{name: value})
    assert f"(environment: {name})" in str(caught.value)
    assert message in str(caught.value)


def test_the_sdks_variables_make_one_org(tmp_path: Path) -> None:
    """Without a file, the SDK's variables for URL and token configure one org."""
    settings = config.load(environ=SDK, cwd=tmp_path)
    (org,) = settings.orgs
    assert (org.name, org.url) == ("acme.okta.com", "https://acme.okta.com")
    assert org.token is not None
    assert org.token.get_secret_value() == "00fromsdk"
    assert settings.database.url.get_secret_value() == f"sqlite:///{tmp_path}/oktawatch.db"


@pytest.mark.parametrize("key", [PEM, "app.pem"])
def test_the_sdks_variables_make_an_oauth_org(tmp_path: Path, key: str) -> None:
    """The private key is text or, as in the SDK, the name of a file. Scopes are separated by commas or spaces."""
    (tmp_path / "app.pem").write_text(PEM)
    environ = {
        "OKTA_CLIENT_ORGURL": "https://acme.okta.com",
        "OKTA_CLIENT_AUTHORIZATIONMODE": "PrivateKey",
        "OKTA_CLIENT_CLIENTID": "0oaexample",
        "OKTA_CLIENT_PRIVATEKEY": key,
        "OKTA_CLIENT_SCOPES": "okta.logs.read, okta.users.read",
    }
    (org,) = config.load(environ=environ, cwd=tmp_path).orgs
    assert org.private_key is not None
    assert (org.private_key.get_secret_value(), org.client_id, org.token) == (PEM, "0oaexample", None)
    assert org.scopes == ("okta.logs.read", "okta.users.read")


@pytest.mark.parametrize(
    ("change", "where", "message"),
    [
        ({"OKTA_CLIENT_TOKEN": ""}, "OKTA_CLIENT_TOKEN", "expected together with OKTA_CLIENT_ORGURL"),
        ({"OKTA_CLIENT_AUTHORIZATIONMODE": "PrivateKey"}, "OKTA_CLIENT_CLIENTID", "in mode PrivateKey"),
        ({"OKTA_CLIENT_AUTHORIZATIONMODE": "Bearer"}, "OKTA_CLIENT_AUTHORIZATIONMODE", "SSWS or PrivateKey"),
        ({"OKTA_CLIENT_ORGURL": "http://acme.okta.com"}, "OKTA_CLIENT_ORGURL", "expected an https URL"),
        ({"OKTA_CLIENT_TOKEN": "two words"}, "OKTA_CLIENT_TOKEN", "a secret without spaces"),
    ],
)
def test_a_wrong_sdk_variable_is_named(
    tmp_path: Path, change: dict[str, str], where: str, message: str
) -> None:
    """An error about an SDK variable names the variable."""
    with pytest.raises(ConfigError) as caught:
        config.load(environ=SDK | change, cwd=tmp_path)
    assert f"(environment: {where})" in str(caught.value)
    assert message in str(caught.value)


def test_with_a_file_the_sdks_variables_are_ignored(load: Load) -> None:
    """If there is a configuration file, the SDK's variables add no org."""
    assert [org.name for org in load(**SDK).orgs] == ["acme"]


def test_a_file_with_windows_line_ends_is_read(tmp_path: Path) -> None:
    """A byte order mark and Windows line ends are accepted."""
    text = '\ufeff[[orgs]]\r\nurl = "https://acme.okta.com"\r\ntoken = "00t"\r\n'
    (tmp_path / "oktawatch.toml").write_bytes(text.encode())
    assert config.load(environ={}, cwd=tmp_path).orgs[0].name == "acme.okta.com"
