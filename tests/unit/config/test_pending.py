"""What was set and changes nothing yet is said, key by key."""

from collections.abc import Callable
from pathlib import Path

import pytest

from oktawatch.config import Settings, pending

Load = Callable[..., Settings]


def test_a_key_without_effect_is_listed_with_its_place(load: Load, tmp_path: Path) -> None:
    """An operator reads which key, in which file or variable."""
    settings = load(
        '[poll]\ninterval = "1m"\n[retention]\nevents = "20d"\n'
        '[[notifiers]]\nname = "soc"\ntype = "webhook"\nurl = "https://soc.example.com"',
        OKTAWATCH__SILENCE__AFTER="20m",
    )
    file = tmp_path / "oktawatch.toml"
    assert settings.without_effect() == [
        "environment: OKTAWATCH__SILENCE__AFTER",
        f"{file}: retention.events",
    ]


def test_a_secret_from_a_file_is_listed_once(load: Load, tmp_path: Path) -> None:
    """Under the key that the operator wrote."""
    (tmp_path / "ping").write_text("https://ping.example.com/x")
    settings = load('[silence]\nheartbeat_url_file = "ping"')
    assert settings.without_effect() == [f"{tmp_path / 'oktawatch.toml'}: silence.heartbeat_url_file"]


@pytest.mark.parametrize("section", pending.KEYS)
def test_the_list_names_keys_that_exist(load: Load, section: str) -> None:
    """An entry with a slip in it would never be told."""
    tables = getattr(load(), section)
    table = tables[0] if isinstance(tables, tuple) else tables
    assert pending.KEYS[section] <= type(table).model_fields.keys()
