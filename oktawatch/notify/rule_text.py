"""What a message quotes of a rule."""

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
    """Whether each of its alerts is about sign-ins of one person, so that a message can say "signed in"."""

    def short_runbook(self) -> str:
        """Return the runbook as one line; a user's rule can bring one of many lines and any length."""
        return shorten(self.runbook, _LONGEST_RUNBOOK, placeholder=" …")
