"""Read config/container/Containerfile."""

import re

from oktawatch import shipped

TEXT = shipped.read("container/Containerfile")


def instructions(name: str) -> list[str]:
    """Return the arguments of each instruction with this name in the last stage."""
    stage = re.sub(r"\\\n\s*", " ", TEXT).rpartition("\nFROM ")[2]
    return re.findall(rf"^{name} (.*)$", stage, re.MULTILINE)


def image_variables() -> dict[str, str]:
    """Return the variables that the image sets."""
    return dict(argument.split("=", 1) for argument in instructions("ENV"))
