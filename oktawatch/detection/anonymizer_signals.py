"""The rule option ``signals``: the anonymizer marks in Okta's events that count."""

from functools import cached_property

from oktawatch.model.anonymizers import SIGNAL_COLUMNS, names_no_service
from oktawatch.model.event import Event


class AnonymizerSignals(tuple[str, ...]):  # noqa: SLOT001 -- the columns are cached on the instance
    """The anonymizer marks that a rule uses: keys of ``SIGNAL_COLUMNS``."""

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The marks' columns in history, which are also accessors of an event."""
        return tuple(SIGNAL_COLUMNS[name] for name in self)

    def held(self, event: Event) -> list[str]:
        """Return the marks that an event has."""
        # Most events lack the fields of the other three marks, and need no JSON parsing.
        if names_no_service(event.securityContext, event.debug_data):
            return ["is_proxy"] if event.is_proxy is True and "is_proxy" in self else []
        return [name for name in self if getattr(event, SIGNAL_COLUMNS[name]) is True]

    def condition(self, event: Event) -> str:
        """Return the text that `oktawatch explain` shows: these marks, and those that an event has."""
        held = ", ".join(self.held(event)) or "none"
        return f"The address has one of the anonymizer marks {', '.join(self)}: it has {held}"


ALL_SIGNALS = AnonymizerSignals(SIGNAL_COLUMNS)
