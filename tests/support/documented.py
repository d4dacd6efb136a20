"""The worked example of docs/rules.md, as files."""

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "rules.md"
RULE_ID = "Acme.Factor.Reset.Spree"


def write_example(folder: Path) -> Path:
    """Write the documented rule and its cases into a folder, under their documented names; give the rule's."""
    text = DOCUMENT.read_text("utf-8")
    folder.mkdir(exist_ok=True)
    name = re.search(r"`rules/(\w+)\.py`", text)
    assert name
    for language, suffix in (("python", ".py"), ("yaml", ".yaml")):
        (block,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        assert f"`rules/{name[1]}{suffix}`" in text
        (folder / f"{name[1]}{suffix}").write_text(block, "utf-8")
    return folder / f"{name[1]}.py"
