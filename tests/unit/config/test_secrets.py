"""Secrets are read from their sources, validated, and never shown."""

from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import get_args

import pytest
from pydantic import BaseModel, SecretStr, ValidationError
from sqlalchemy import make_url

from oktawatch import config
from oktawatch.config import (
    ConfigError,
    DatabaseSettings,
    NotifierSettings,
    OrgSettings,
    PollSettings,
    RetentionSettings,
    ServiceSettings,
    Settings,
    SilenceSettings,
)
from oktawatch.config.evidence import EvidenceSourceSettings
from oktawatch.config.secrets import SECRET_KEYS

Load = Callable[..., Settings]
FROM_FILE = '[[orgs]]\nname = "acme"\nurl = "https://acme.okta.com"\ntoken_file = "acme.token"\n'
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEexampleKeyLine\n-----END PRIVATE KEY-----"
MODELS: dict[str, type[BaseModel]] = {
    "database": DatabaseSettings,
    "poll": PollSettings,
    "orgs": OrgSettings,
    "notifiers": NotifierSettings,
    "silence": SilenceSettings,
    "retention": RetentionSettings,
    "service": ServiceSettings,
    "evidence.sources": EvidenceSourceSettings,
}


def token(settings: Settings) -> str:
    """Return the first org's token."""
    found = settings.orgs[0].token
    assert found is not None
    return found.get_secret_value()


def test_a_token_is_read_beside_the_configuration(load: Load, tmp_path: Path) -> None:
    """A token file is read without the white space that editors and `echo` add, and its path is kept."""
    (tmp_path / "acme.token").write_text("\n  00fromfile \r\n")
    settings = load(orgs=FROM_FILE)
    assert token(settings) == "00fromfile"
    assert settings.orgs[0].token_file == tmp_path / "acme.token"


def test_a_byte_order_mark_is_not_part_of_a_token(load: Load, tmp_path: Path) -> None:
    """The byte order mark that some editors write is ignored."""
    (tmp_path / "acme.token").write_bytes(b"\xef\xbb\xbf00fromfile\r\n")
    assert token(load(orgs=FROM_FILE)) == "00fromfile"


def test_systemds_credentials_come_first(load: Load, tmp_path: Path) -> None:
    """A credential of systemd takes precedence over a file in the configuration's folder."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (tmp_path / "acme.token").write_text("00beside")
    assert token(load(orgs=FROM_FILE, CREDENTIALS_DIRECTORY=str(credentials))) == "00beside"
    (credentials / "acme.token").write_text("00credential")
    assert token(load(orgs=FROM_FILE, CREDENTIALS_DIRECTORY=str(credentials))) == "00credential"


def test_an_absolute_path_is_used_unchanged(load: Load, tmp_path: Path) -> None:
    """A secret file with an absolute path is not looked up in systemd's credentials."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("00elsewhere")
    settings = load(orgs=FROM_FILE.replace("acme.token", str(elsewhere)), CREDENTIALS_DIRECTORY=str(tmp_path))
    assert token(settings) == "00elsewhere"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "expected a readable file at {file}: No such file or directory"),
        (b"", "expected a secret, not an empty value, in {file}"),
        (b" \n", "expected a secret, not an empty value, in {file}"),
        (
            b"00two\nlines",
            "expected a secret without spaces or control characters inside, in {file}",
        ),
        (
            b"00two words",
            "expected a secret without spaces or control characters inside, in {file}",
        ),
        (
            b"00\x00nul",
            "expected a secret without spaces or control characters inside, in {file}",
        ),
        (
            b"00\xff\xfe",
            "expected a secret without spaces or control characters inside, in {file}",
        ),
        (b"00" * 40_000, "expected a secret in {file}, not more than 65536 bytes"),
    ],
)
def test_an_unusable_secret_file_is_named(
    load: Load, tmp_path: Path, content: bytes | None, expected: str
) -> None:
    """The error names the key and the file, and shows nothing of its content."""
    file = tmp_path / "acme.token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(orgs=FROM_FILE)
    where = f"{tmp_path / 'oktawatch.toml'}: orgs[acme].token_file"
    assert str(caught.value) == f"no secret ({where}): {expected.format(file=file)}"


def test_a_private_key_has_many_lines(load: Load, tmp_path: Path) -> None:
    """The line breaks of a private key are kept."""
    (tmp_path / "app.pem").write_text(PEM + "\n")
    (org,) = load(
        orgs='[[orgs]]\nurl = "https://a.okta.com"\nclient_id = "0oa"\nprivate_key_file = "app.pem"'
    ).orgs
    assert org.private_key is not None
    assert org.private_key.get_secret_value() == PEM


def test_a_secret_can_be_read_again(tmp_path: Path) -> None:
    """A renewed token is read and validated like the first one."""
    file = tmp_path / "acme.token"
    file.write_text("00renewed\n")
    assert config.read_secret(file).get_secret_value() == "00renewed"
    file.write_text("")
    with pytest.raises(ValueError, match="not an empty value"):
        config.read_secret(file)


def test_every_secret_can_be_in_a_file() -> None:
    """Each secret key ``x`` of the models is listed in SECRET_KEYS and has a key ``x_file``."""
    for section, model in MODELS.items():
        secret = {key for key, field in model.model_fields.items() if _is_secret(field.annotation)}
        assert secret == set(SECRET_KEYS.get(section, ())), section
        assert {f"{key}_file" for key in secret} <= model.model_fields.keys()


def _is_secret(annotation: object) -> bool:
    return annotation is SecretStr or (
        isinstance(annotation, UnionType) and SecretStr in get_args(annotation)
    )


def test_a_command_without_secrets_reads_no_secret_files(tmp_path: Path) -> None:
    """With ``secrets_of``, only the database's secret file is read, but an org must still have a secret or its file."""
    (tmp_path / "db.url").write_text("postgresql+psycopg://oktawatch@db.example.com/oktawatch\n")
    (tmp_path / "oktawatch.toml").write_text(
        """
[database]
url_file = "db.url"
[silence]
heartbeat_url_file = "no.heartbeat"
[[evidence.sources]]
name = "exits"
kind = "tor"
url_file = "no.exits"
[[notifiers]]
type = "webhook"
url_file = "no.url"
secret_file = "no.secret"
[[orgs]]
url = "https://a.okta.com"
token_file = "no.token"
[[orgs]]
url = "https://b.okta.com"
client_id = "0oa"
private_key_file = "no.pem"
[[orgs]]
url = "https://c.okta.com"
token = "00inline"
"""
    )
    settings = config.load(environ={}, cwd=tmp_path, secrets_of=("database",))
    assert settings.database.url.get_secret_value().endswith("@db.example.com/oktawatch")
    assert [org.token for org in settings.orgs] == [None, None, SecretStr("00inline")]
    with pytest.raises(ConfigError, match="no secret"):
        config.load(environ={}, cwd=tmp_path)
    (tmp_path / "oktawatch.toml").write_text('[[orgs]]\nurl = "https://a.okta.com"\n')
    with pytest.raises(ConfigError, match="missing secret"):
        config.load(environ={}, cwd=tmp_path, secrets_of=("database",))


ALL_SECRETS = f"""
[database]
url = "postgresql+psycopg://oktawatch:pass%21word@db.example.com/oktawatch?sslpassword=tlssecret"
[poll]
proxy = "http://user:proxysecret@proxy.example.com:3128"
[silence]
heartbeat_url = "https://ping.example.com/pingsecret"
[[notifiers]]
type = "webhook"
url = "https://soc.example.com/hooksecret"
secret = "hmacsecret"
[[evidence.sources]]
name = "maxmind"
url = "https://17:account%2Fsecret@lists.example.com/a?edition_id=GeoIP2-City&auth=true&license_key=licence%2Fsecret"
format = "mmdb"
[[orgs]]
url = "https://acme.okta.com"
token = "00tokensecret"
[[orgs]]
url = "https://b.okta.com"
client_id = "0oa"
private_key = '''{PEM}'''
"""


def test_no_secret_is_in_any_view_of_the_settings(load: Load) -> None:
    """No repr, str or dump of the settings contains a secret."""
    settings = load(ALL_SECRETS, orgs="")
    views = [repr(settings), str(settings), repr(settings.model_dump()), settings.model_dump_json(indent=1)]
    for view in views:
        for secret in (
            "pass",
            "tlssecret",
            "proxysecret",
            "pingsecret",
            "hooksecret",
            "hmacsecret",
            "account",
            "licence",
            "00token",
            "MIIE",
        ):
            assert secret not in view


def test_pydantics_own_error_does_not_show_a_value() -> None:
    """A ValidationError of pydantic, which users never see, does not contain the value either."""
    with pytest.raises(ValidationError) as caught:
        OrgSettings.model_validate({"url": "https://acme.okta.com", "token": ["00s3cret"]})
    assert "s3cret" not in str(caught.value)


def test_the_settings_list_what_the_log_must_mask(load: Load) -> None:
    """The settings list all secrets for the log to mask, including passwords in URLs, encoded and decoded."""
    assert set(load(ALL_SECRETS, orgs="").secrets()) == {
        "pass%21word",
        "pass!word",
        "tlssecret",
        "proxysecret",
        "https://ping.example.com/pingsecret",
        "https://soc.example.com/hooksecret",
        "hmacsecret",
        "https://17:account%2Fsecret@lists.example.com/a?edition_id=GeoIP2-City&auth=true&license_key=licence%2Fsecret",
        "account%2Fsecret",
        "account/secret",
        "licence%2Fsecret",
        "licence/secret",
        "00tokensecret",
        PEM,
    }
    assert list(load().secrets()) == ["00inline"]


def test_the_secret_parts_of_an_apprise_url(load: Load) -> None:
    """The tokens and password of an Apprise URL are masked, and its address is not."""
    urls = (
        "mailto://me:pass%40word@203.0.113.7:2525?to=soc@example.com",
        "slack://T0INVENTD/B0INVENTD/invented7777",
    )
    notifiers = "".join(
        f'[[notifiers]]\nname = "{number}"\ntype = "apprise"\nurl = "{url}"\n'
        for number, url in enumerate(urls)
    )
    assert set(load(notifiers).secrets()) == {
        *urls,
        "pass%40word",
        "pass@word",
        "T0INVENTD",
        "B0INVENTD",
        "invented7777",
        "00inline",
    }


def test_the_format_of_a_source_depends_on_its_name(load: Load, tmp_path: Path) -> None:
    """A path or URL that ends with .mmdb is a database. A URL in a file does not determine the format."""
    (tmp_path / "a.url").write_text("https://lists.example.com/a.mmdb")

    def format_of(source: str, more: str = "") -> str:
        (found,) = load(f'[[evidence.sources]]\nname = "a"\n{source}\n{more}').evidence.sources
        return found.format

    assert format_of('path = "a.mmdb"') == "mmdb"
    assert format_of('url = "https://lists.example.com/a.mmdb?token=x"') == "mmdb"
    assert format_of('url = "https://lists.example.com/a.csv"', 'kind = "tor"') == "networks"
    assert format_of('url_file = "a.url"', 'kind = "tor"') == "networks"
    assert format_of('url_file = "a.url"', 'format = "mmdb"') == "mmdb"


def test_other_paths_are_beside_the_configuration(load: Load, tmp_path: Path) -> None:
    """Paths of other files are relative to the configuration's folder, even if systemd has passed credentials."""
    settings = load(
        '[poll]\nca_file = "ca.pem"\n[detection]\nrules_dir = "/srv/rules"',
        CREDENTIALS_DIRECTORY="/run/credentials",
    )
    assert settings.poll.ca_file == tmp_path / "ca.pem"
    assert settings.detection.rules_dir == Path("/srv/rules")
    empty = load('[poll]\nca_file = ""\nproxy = ""\n[silence]\nheartbeat_url = ""')
    assert (empty.poll.ca_file, empty.poll.proxy, empty.silence.heartbeat_url) == (None, None, None)


@pytest.mark.parametrize("folder", ["plain", "with space", "a%41?b#c"])
@pytest.mark.parametrize("name", ["oktawatch.db", "data/other.db"])
def test_an_sqlite_file_is_beside_the_configuration(tmp_path: Path, folder: str, name: str) -> None:
    """A relative SQLite path is resolved beside the configuration, for any folder name."""
    base = tmp_path / folder
    base.mkdir()
    text = f'[database]\nurl = "sqlite:///{name}"\n[[orgs]]\nurl = "https://a.okta.com"\ntoken = "00t"'
    (base / "oktawatch.toml").write_text(text)
    settings = config.load(base / "oktawatch.toml", environ={}, cwd=tmp_path)
    assert make_url(settings.database.url.get_secret_value()).database == str(base / name)


def test_an_sqlite_name_is_decoded_like_any_url(load: Load, tmp_path: Path) -> None:
    """A percent-encoded name of an SQLite file is decoded once."""
    url = load('[database]\nurl = "sqlite:///a%20b.db"').database.url.get_secret_value()
    assert make_url(url).database == str(tmp_path / "a b.db")


def test_an_absolute_sqlite_file_stays_where_it_is(load: Load) -> None:
    """An absolute path, after four slashes, is not changed."""
    url = "sqlite:////var/lib/oktawatch/oktawatch.db"
    assert load(f'[database]\nurl = "{url}"').database.url.get_secret_value() == url


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file:x?uri=true",
        "sqlite:///x.db?mode=ro",
        "sqlite:///x\\u0000.db",
        "mysql://h/x",
        "oktawatch.db",
        "postgresql://h:port/x",
        "postgresql://[::1/x",
        "postgresql+psycopg://u:secret@with-an-at@h/x",
        "postgresql+psycopg://u:secret@with/both@h/x",
    ],
)
def test_an_unusable_database_is_refused(load: Load, url: str) -> None:
    """A URL that is invalid or names a database in memory is refused."""
    with pytest.raises(ConfigError, match=r"database\.url\): expected"):
        load(f'[database]\nurl = "{url}"')


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h/x",
        "postgresql+psycopg://u@h:5432/x?sslmode=verify-full",
        "postgresql+psycopg://u:se%40cr/e:t?#@[2001:db8::1]:5432/x",
        "postgresql+psycopg://u@/x?host=db1.example.com&host=db2.example.com",
    ],
)
def test_a_servers_url_is_accepted(load: Load, url: str) -> None:
    """A server's URL is accepted with any escaped password, and SQLAlchemy parses the same user and database."""
    assert load(f'[database]\nurl = "{url}"').database.url.get_secret_value() == url
    assert make_url(url).username in {None, "u"}
    assert make_url(url).database == "x"
