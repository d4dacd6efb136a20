"""Settings that have no effect yet are reported by key."""

from collections.abc import Callable
from pathlib import Path

import pytest

from oktawatch.config import Settings
from oktawatch.config.settings import WITHOUT_EFFECT

Load = Callable[..., Settings]


def test_a_key_without_effect_is_listed_with_its_place(load: Load, tmp_path: Path) -> None:
    """An operator reads which key, in which file or variable."""
    settings = load(
        '[poll]\ninterval = "1m"\n[service]\nlisten = ""\n'
        '[[notifiers]]\nname = "soc"\ntype = "webhook"\nurl = "https://soc.example.com"',
    )
    file = tmp_path / "oktawatch.toml"
    assert settings.without_effect() == [f"{file}: service.listen"]
    settings = load(OKTAWATCH__SERVICE__LISTEN="127.0.0.1:9465")
    assert settings.without_effect() == ["environment: OKTAWATCH__SERVICE__LISTEN"]


@pytest.mark.parametrize("section", WITHOUT_EFFECT)
def test_the_list_names_keys_that_exist(load: Load, section: str) -> None:
    """The keys in the list of settings without effect exist."""
    tables = getattr(load(), section)
    table = tables[0] if isinstance(tables, tuple) else tables
    assert WITHOUT_EFFECT[section] <= type(table).model_fields.keys()
