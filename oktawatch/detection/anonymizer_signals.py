"""The signals by which Okta marks an address as an anonymizer's, and which of them a rule goes by."""

from oktawatch.model.anonymizers import SIGNAL_COLUMNS, names_no_service
from oktawatch.model.event import Event


class AnonymizerSignals(tuple[str, ...]):
    """The signals that count for a rule: names of ``SIGNAL_COLUMNS``."""

    __slots__ = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The accessors of an event, and columns of history, that hold these signals."""
        return tuple(SIGNAL_COLUMNS[name] for name in self)

    def held(self, event: Event) -> list[str]:
        """Return the signals that hold of an event's client address."""
        if names_no_service(
            event.securityContext, event.debug_data
        ):  # the usual case, decided without parsing anything
            return ["is_proxy"] if event.is_proxy is True and "is_proxy" in self else []
        return [name for name in self if getattr(event, SIGNAL_COLUMNS[name]) is True]


ALL_SIGNALS = AnonymizerSignals(SIGNAL_COLUMNS)
