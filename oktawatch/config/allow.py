"""The settings of allow entries: known activity that raises no alert."""

from datetime import date, datetime
from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from oktawatch.config.errors import invalid_value
from oktawatch.config.section import Section
from oktawatch.config.validators import KindName, Patterns

CONDITIONS = ("rules", "orgs", "actors", "networks", "as_numbers", "operators", "kinds", "zones")
_LONGEST_REASON = 200  # characters
_HIGHEST_AS_NUMBER = 2**32 - 1


def _reason(text: str) -> str:
    if text.strip() == text and 0 < len(text) <= _LONGEST_REASON and text.isprintable():
        return text
    raise ValueError(f"expected one line of 1 to {_LONGEST_REASON} characters without spaces at the ends")


def _day(value: Any) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value)
    except (ValueError, TypeError):
        raise ValueError("expected a date such as 2027-01-31") from None


def _network(text: str) -> str:
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ValueError("expected an address or a network such as 203.0.113.0/24") from None
    return text


Day = Annotated[date, BeforeValidator(_day)]
NetworkText = Annotated[str, AfterValidator(_network)]
AsNumber = Annotated[int, Field(ge=0, le=_HIGHEST_AS_NUMBER)]


class AllowSettings(Section):
    """An allow entry. All of its conditions must hold. A condition holds if any of its values matches."""

    reason: Annotated[str, AfterValidator(_reason)]
    """The reason, for people to read."""
    until: Day | None = None
    """The last day on which the entry applies, in UTC and by event time."""
    rules: Patterns = ()
    """Ids or globs of rules."""
    orgs: Patterns = ()
    """Names of orgs, or tags as ``"#tag"``. ``"*"`` is every org."""
    actors: Patterns = ()
    """Globs of logins, case-insensitive."""
    networks: Annotated[tuple[NetworkText, ...], Field(strict=False)] = ()
    """Addresses or networks of the client."""
    as_numbers: Annotated[tuple[AsNumber, ...], Field(strict=False)] = ()
    """Numbers of the autonomous systems of the client's address."""
    operators: Patterns = ()
    """Operators of anonymizers, as in alerts, case-insensitive."""
    kinds: Annotated[tuple[KindName, ...], Field(strict=False)] = ()
    """Kinds of anonymizers."""
    zones: Patterns = ()
    """Names of Okta's network zones, as in the event's ``client.zone``."""

    @model_validator(mode="after")
    def _has_a_condition(self) -> "AllowSettings":
        for name in CONDITIONS:
            if name in self.model_fields_set and not getattr(self, name):
                raise invalid_value(name, expected="expected at least one value, or no such key")
        if not any(getattr(self, name) for name in CONDITIONS):
            expected = f"expected a condition that excludes some matches, with one of {', '.join(CONDITIONS)}"
            raise invalid_value(expected=expected, what="entry for everything")
        return self
