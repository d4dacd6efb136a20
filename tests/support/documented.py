"""Extract the examples of docs/rules.md as files."""

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "rules.md"
RULE_ID = "Acme.Factor.Reset.Spree"
RULE_WITH_SIGNAL_ID = "Acme.Guessed.Password"
"""The documented rule that uses a signal."""


def write_example(folder: Path, rule_id: str = RULE_ID) -> Path:
    """Write a documented rule and its test cases into a folder. Return the rule's path."""
    text = DOCUMENT.read_text("utf-8")
    folder.mkdir(exist_ok=True)
    blocks: list[tuple[str, str]] = re.findall(
        r"`rules/(\w+\.(?:py|yaml))`:\n(?:\n<!--[^\n]*-->)?\n```\w+\n(.*?)^```$",
        text,
        re.MULTILINE | re.DOTALL,
    )
    wanted = {name: block for name, block in blocks if rule_id in block}
    assert [Path(name).suffix for name in wanted] == [".py", ".yaml"]
    for name, block in wanted.items():
        (folder / name).write_text(block, "utf-8")
    return next(folder / name for name in wanted)
