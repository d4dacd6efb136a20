"""The settings of a notifier: the keys that every channel has, and those that a channel adds."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from oktawatch.config.channels import load_channel
from oktawatch.config.errors import invalid_value, suggest
from oktawatch.config.secret_masking import passwords
from oktawatch.config.section import Section
from oktawatch.config.validators import (
    File,
    Name,
    Patterns,
    PositiveDuration,
    Secret,
    SeverityName,
    check_https,
)
from oktawatch.model.severity import Severity


def _known_type(name: str) -> str:
    load_channel(name)
    return name


def _type_as_name(data: dict[str, Any]) -> str:
    return str(data["type"])


def _not_empty(kinds: tuple[str, ...]) -> tuple[str, ...]:
    if not kinds:
        raise ValueError('expected at least one of "opened", "raised", "acknowledged" and "closed"')
    return kinds


class NotifierSettings(Section):
    """A notifier: a channel, and the alerts that it receives.

    These keys apply to every notifier. A channel with additional keys defines a subclass as its ``Settings``. The subclass
    declares a secret key as ``x: Secret = None`` together with ``x_file: File = None``.
    """

    type: Annotated[str, AfterValidator(_known_type)]
    """The name of an installed channel."""
    name: Name = Field(default_factory=_type_as_name)
    """The notifier's name in the outbox. A renamed notifier is a new one."""
    url: Secret = None
    """The destination. Secret, because the URL of a webhook is often its only credential."""
    url_file: File = None
    secret: Secret = None
    """The key of a webhook's HMAC-SHA256 signature."""
    secret_file: File = None
    min_severity: SeverityName = Severity.LOW
    """The lowest severity to notify. Alerts below it are stored, but not sent. By default, a sign-in over Apple's relay is INFO."""
    rules: Patterns = ("*",)
    """Ids or globs of the rules to notify."""
    orgs: Patterns = ("*",)
    """Names of the orgs to notify, or tags as ``"#tag"``. ``"*"`` is every org."""
    on: Annotated[
        tuple[Literal["opened", "raised", "acknowledged", "closed"], ...],
        Field(strict=False),
        AfterValidator(_not_empty),
    ] = ("opened", "raised")
    """The changes to notify: an alert was opened, its severity was raised, or a person acknowledged or closed it."""
    max_per_minute: int | None = Field(default=30, ge=1)
    """The maximum number of messages per minute. Further alerts are combined into a digest.

    Alarms and alerts of HIGH or CRITICAL are counted together, apart from other messages, with the same limit. None: no limit."""
    max_age: PositiveDuration = timedelta(hours=24)
    """The age at which an undelivered message becomes a dead letter, after at least six attempts. A retry by a person restarts
    the age."""

    def probe_url(self) -> SecretStr | None:
        """Return the URL to whose host `oktawatch check` connects. None: no probe."""
        return None

    def masked_texts(self) -> Iterator[str]:
        """Yield every text that must be masked: each secret and, if it is a URL, its password."""
        for key in type(self).model_fields:
            value = getattr(self, key)
            if isinstance(value, SecretStr):
                yield value.get_secret_value()
                yield from passwords(value.get_secret_value())

    def require_url(self) -> None:
        """Raise an error if no URL is set, for channels that need one."""
        if not self.has_secret("url"):
            expected = f"expected url or url_file for type {self.type}"
            raise invalid_value("url_file", expected=expected, what="missing secret")

    def refuse_receiver(self, does: str) -> None:
        """Raise an error if a URL or secret is set, for channels that use none. ``does`` completes the error's text."""
        for key in ("url", "secret"):
            if self.has_secret(key):
                raise invalid_value(key, expected=f"expected no {key}: a notifier of type {self.type} {does}")

    @model_validator(mode="before")
    @classmethod
    def _has_only_known_keys(cls, table: Any) -> Any:
        for key in table if isinstance(table, dict) else ():
            if key not in cls.model_fields:
                raise invalid_value(
                    str(key), expected=suggest(str(key), cls.model_fields), what="unknown key"
                )
        return table

    @model_validator(mode="after")
    def _uses_plain_http_only_locally(self) -> "NotifierSettings":
        # Other schemes are the channel's business (slack://…).
        if self.url is not None and self.url.get_secret_value().startswith(("http:", "https:")):
            try:
                check_https(self.url.get_secret_value())
            except ValueError as wrong:
                raise invalid_value("url", expected=str(wrong)) from None
        return self


def validate_by_channel(table: Any) -> Any:
    """Validate a notifier's table with the model of its channel."""
    if not isinstance(table, dict) or not isinstance(table.get("type"), str):
        return table
    try:
        model = getattr(load_channel(table["type"]), "Settings", NotifierSettings)
    except ValueError as error:
        # Without the channel, its own keys would be reported as unknown.
        raise invalid_value("type", expected=str(error)) from None
    if not isinstance(model, type) or not issubclass(model, NotifierSettings):
        raise invalid_value("type", expected="expected a channel whose Settings is a NotifierSettings")
    try:
        return model.model_validate(table)
    except ValueError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- the model of a third-party channel can raise anything
        problem = (
            f"expected a channel that can validate its settings: its Settings raises {type(error).__name__}"
        )
    # Raised outside of the handler: the text of the error could contain a secret.
    raise invalid_value("type", expected=problem)
