"""An error is one printable line with the file and the place, and without any value of the file."""

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oktawatch import config
from oktawatch.config import ConfigError, Settings
from tests.support.properties import examples
from tests.unit.config.conftest import ORG

KEYED = '[[orgs]]\nurl = "https://a.okta.com"\nclient_id = "0oa"\nprivate_key_file = "secret"\n'
Load = Callable[..., Settings]


@pytest.mark.parametrize(
    ("text", "org", "named"),
    [
        ('[database]\nurl_file = "secret"', ORG, "database.url_file"),
        ('[silence]\nheartbeat_url_file = "secret"', ORG, "silence.heartbeat_url_file"),
        ('[[notifiers]]\ntype = "webhook"\nurl_file = "secret"', ORG, "notifiers[#1].url_file"),
        ("", KEYED, "orgs[#1].private_key_file"),
    ],
)
def test_an_invalid_secret_in_a_file_is_reported_under_the_files_key(
    load: Load, tmp_path: Path, text: str, org: str, named: str
) -> None:
    """An error about a secret that was read from a file names the key of the file."""
    (tmp_path / "secret").write_text("http://example.com/nonsense")
    with pytest.raises(ConfigError) as caught:
        load(text, orgs=org)
    assert str(caught.value).startswith(f"wrong value ({tmp_path / 'oktawatch.toml'}: {named}): ")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"x = [[ 1", "not valid TOML (, line 1, column 9): correct"),
        (b'a = 1\nb = "s3cret', "not valid TOML (, line 2, column 12): correct"),
        (b"a = 1\na = 's3cret'", "not valid TOML (, line 2, column"),
        (b"\xff\xfe", "not valid TOML (): expected text in UTF-8"),
        (b"a = 1" + b"0" * 5000, "not valid TOML (): correct"),
        (b"a = " + b"[" * 5000, "not valid TOML (): correct"),
    ],
)
def test_invalid_toml_is_reported_by_line_and_column(tmp_path: Path, content: bytes, expected: str) -> None:
    """The error contains the line and column, but not the parser's message, which quotes the file."""
    (tmp_path / "oktawatch.toml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        config.load(environ={}, cwd=tmp_path)
    assert str(caught.value).replace(str(tmp_path / "oktawatch.toml"), "").startswith(expected)
    assert caught.value.__context__ is None


def test_an_error_is_one_printable_line(tmp_path: Path) -> None:
    """Control characters in the file's name are replaced in the error."""
    folder = tmp_path / "a\nb\x1b[31m"
    folder.mkdir()
    (folder / "oktawatch.toml").write_text("[")
    with pytest.raises(ConfigError) as caught:
        config.load(environ={}, cwd=folder)
    assert str(caught.value).isprintable()


SECRET = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=8, max_size=40).filter(
    lambda text: text.strip() == text and not any(mark in text for mark in ("{", "expected"))
)
KEYS = st.sampled_from(
    ["token", "private_key", "name", "url", "tags", "dpop", "client_id", "scopes", "nonsense", "token_file"]
)
SHAPES: list[Callable[[str], Any]] = [str, lambda text: [text], lambda text: {"a": text}]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(200))
@given(secret=SECRET, key=KEYS, shape=st.sampled_from(SHAPES), section=st.sampled_from(["orgs", "notifiers"]))
def test_no_error_contains_a_value(
    tmp_path: Path, secret: str, key: str, shape: Callable[[str], Any], section: str
) -> None:
    """A secret under any key, in any shape, is in no error, repr or traceback."""
    secret = f"s3cr-{secret}"
    org = {"url": "https://acme.okta.com", "token": "00fine"}
    tables = {"orgs": [dict[str, Any](org)], "notifiers": [dict[str, Any](type="log")]}
    tables[section][0][key] = shape(secret)
    environ = {f"OKTAWATCH__{name.upper()}": json.dumps(table) for name, table in tables.items()}
    try:
        loaded = config.load(environ=environ, cwd=tmp_path)
    except ConfigError as error:
        shown = [str(error), repr(error), "".join(traceback.format_exception(error)), repr(error.__context__)]
        if key in ("token_file", "name"):  # the name of a file or an org is not a secret
            return
    else:
        if key not in ("token", "private_key", "url", "secret"):
            return
        shown = [repr(loaded), str(loaded), repr(loaded.model_dump()), loaded.model_dump_json()]
    for text in shown:
        assert secret not in text
        assert repr(secret)[1:-1] not in text
