"""The texts of a rule that messages quote."""

from textwrap import shorten

from msgspec import Struct

_LONGEST_RUNBOOK = 600  # characters


class RuleText(Struct, frozen=True):
    """The parts of a rule that messages show."""

    name: str
    runbook: str
    mitre: tuple[str, ...] = ()
    """ATT&CK ids."""
    about_sign_in: bool = False
    """Whether each alert is about sign-ins of one person, so that a message can contain "signed in"."""

    def short_runbook(self) -> str:
        """Return the runbook as one line of limited length. The runbook of a custom rule can have any length."""
        return shorten(self.runbook, _LONGEST_RUNBOOK, placeholder=" …")
