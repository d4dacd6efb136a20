"""The commented example is valid and complete."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from oktawatch import config
from oktawatch.config import NotifierSettings, OrgSettings, Settings
from oktawatch.config.allow import AllowSettings
from oktawatch.detection.options import configured
from oktawatch.detection.rules.anonymizing_vpn_login import AnonymizingVpnLogin

EXAMPLE = Path(__file__).parents[3] / "config" / "oktawatch.example.toml"
SECRETS = {
    "acme.token": "00example",
    "acme-oauth.pem": "-----BEGIN PRIVATE KEY-----\nMIIEexample\n-----END PRIVATE KEY-----\n",
    "soc.secret": "example",
}
# Keys for which the example shows a sample value, because they have no useful default.
SAMPLES = {
    "dpop",
    "name",
    "url",
    "url_file",
    "token_file",
    "client_id",
    "private_key_file",
    "type",
    "secret_file",
    "path",
    "sources",
    "format",
    "kind",
    "operator",
    "operators",
    "severity",
    "adjustments",
}


@pytest.fixture
def uncommented(tmp_path: Path) -> Settings:
    """Load the example with all of its settings uncommented."""
    for name, content in SECRETS.items():
        (tmp_path / name).write_text(content)
    text = re.sub(r"^#(?=[a-z[])", "", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (tmp_path / "oktawatch.toml").write_text(text, encoding="utf-8")
    return config.load(environ={}, cwd=tmp_path)


def test_the_example_loads_as_it_is(tmp_path: Path) -> None:
    """With a token file, the example is valid."""
    (tmp_path / "acme.token").write_text(SECRETS["acme.token"])
    (tmp_path / "oktawatch.toml").write_bytes(EXAMPLE.read_bytes())
    settings = config.load(environ={}, cwd=tmp_path)
    assert [org.name for org in settings.orgs] == ["acme"]


def test_the_example_shows_the_defaults(uncommented: Settings, tmp_path: Path) -> None:
    """Each value in the example is the default of its key."""
    # An allow entry has only sample values.
    for table in (table for table in _tables(uncommented) if not isinstance(table, AllowSettings)):
        defaults = type(table).model_fields
        for key in table.model_fields_set - SAMPLES:
            default = defaults[key].default
            assert default is not PydanticUndefined, key
            if f"{key}_file" not in table.model_fields_set:
                assert getattr(table, key) == default, key
    assert uncommented.database.url.get_secret_value() == f"sqlite:///{tmp_path}/oktawatch.db"


def test_the_example_shows_every_key(uncommented: Settings) -> None:
    """The example configuration contains every key."""
    shown: dict[type[BaseModel], set[str]] = {}
    for table in _tables(uncommented):
        model = NotifierSettings if isinstance(table, NotifierSettings) else type(table)
        shown.setdefault(model, set()).update(table.model_fields_set)
    for model, keys in shown.items():
        all_keys = set(model.model_fields)
        # The example shows a secret or its file.
        missing = {key for key in all_keys - keys if f"{key}_file" not in keys and not key.endswith("_file")}
        assert not missing, model.__name__
    assert {OrgSettings, NotifierSettings, AllowSettings} <= shown.keys()


def test_the_example_shows_the_rules_defaults(uncommented: Settings) -> None:
    """The example has every option of the rule with its default."""
    rule_settings = uncommented.rules[AnonymizingVpnLogin.id]
    assert rule_settings.enabled is AnonymizingVpnLogin.on_by_default
    assert rule_settings.options.keys() == {option.name for option in fields(AnonymizingVpnLogin)}

    def no_file(name: str) -> str:
        raise AssertionError(name)

    shown = configured(AnonymizingVpnLogin, rule_settings.options, no_file)
    for option in fields(AnonymizingVpnLogin):
        if option.name != "relay_networks":  # empty here, which is its default
            assert getattr(shown, option.name) == option.default


def _tables(settings: Settings) -> Iterator[BaseModel]:
    for section in set(Settings.model_fields) - {"rules"}:
        value = getattr(settings, section)
        for table in value if isinstance(value, tuple) else [value]:
            yield table
            for key in type(table).model_fields:
                inner = getattr(table, key)
                yield from (
                    one for one in (inner if isinstance(inner, tuple) else ()) if isinstance(one, BaseModel)
                )
