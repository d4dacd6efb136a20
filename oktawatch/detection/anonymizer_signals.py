"""The signals by which Okta marks an address as an anonymizer, as an option of rules."""

from oktawatch.model.anonymizers import SIGNAL_COLUMNS, names_no_service
from oktawatch.model.event import Event


class AnonymizerSignals(tuple[str, ...]):
    """The signals that a rule uses: names of ``SIGNAL_COLUMNS``."""

    __slots__ = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The accessors of an event and columns of history with these signals."""
        return tuple(SIGNAL_COLUMNS[name] for name in self)

    def held(self, event: Event) -> list[str]:
        """Return the signals that an event's client address has."""
        # The usual case, decided without parsing JSON.
        if names_no_service(event.securityContext, event.debug_data):
            return ["is_proxy"] if event.is_proxy is True and "is_proxy" in self else []
        return [name for name in self if getattr(event, SIGNAL_COLUMNS[name]) is True]


ALL_SIGNALS = AnonymizerSignals(SIGNAL_COLUMNS)
