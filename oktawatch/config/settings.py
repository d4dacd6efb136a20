"""The settings themselves: every key, its default, its unit and why it is there.

All of it is frozen and checked once, at the start. Values are strict: ``page_size = "500"`` is a wrong
type, not a number. Secrets are SecretStr, which shows itself as asterisks everywhere.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, InitSettingsSource, SettingsConfigDict

from oktawatch.config.channels import load_channel
from oktawatch.config.egress import Egress
from oktawatch.config.errors import ConfigError, Origins, misfit, suggest
from oktawatch.config.secret_masking import passwords, texts
from oktawatch.config.validators import (
    AnyCase,
    Duration,
    File,
    Grade,
    Name,
    Names,
    OptionalName,
    Patterns,
    PositiveDuration,
    Secret,
    at_least,
    check_database,
    check_https,
    check_listen,
    check_org_url,
    check_proxy,
    check_secret_https,
)
from oktawatch.model.durations import format_duration
from oktawatch.model.severity import Severity

_BEYOND_A_SWEEP = timedelta(days=1)
_INTERVALS_TO_SILENCE = 1.5  # a poll comes up to a tenth late, and takes its time


class Section(BaseModel):
    """A table of the configuration: nothing unknown in it, nothing changed later."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    def names(self, secret: str) -> bool:
        """Tell whether a secret is given, by itself or as a file: who doesn't need it has not read the file."""
        return getattr(self, secret) is not None or getattr(self, f"{secret}_file") is not None


class DatabaseSettings(Section):
    """Where everything is kept."""

    url: Annotated[SecretStr, AfterValidator(check_database)] = SecretStr("sqlite:///oktawatch.db")
    """SQLAlchemy's URL; secret since it can hold a password. An SQLite file's path is absolute here."""
    url_file: File = None
    auto_upgrade: bool = False
    """Postgres: let `run` upgrade the schema. Off, since whoever runs the server decides when."""


class PollSettings(Section):
    """How Okta is asked."""

    interval: PositiveDuration = timedelta(seconds=30)
    """From one poll of an org to the next."""
    page_size: int = Field(default=1000, ge=1, le=1000)
    """Events a request; Okta gives 1000 at most, and fewer only cost more of the rate limit."""
    initial_lookback: Duration = timedelta(hours=24)
    """How far back an org starts that was never polled."""
    rate_limit_share: float = Field(default=0.5, gt=0, le=1)
    """The part of the org's rate limit that may be used; the rest is for the org's other tools."""
    sweep_interval: PositiveDuration = timedelta(hours=1)
    """How often the recent past is read again for events that polling missed."""
    sweep_window: PositiveDuration = timedelta(hours=2)
    """How far back a sweep reads."""
    proxy: Annotated[Secret, AfterValidator(check_proxy)] = None
    """Egress proxy, else that of HTTPS_PROXY; NO_PROXY counts. Secret since it can hold a password.

    Webhooks and the heartbeat go the same way, and trust the same certificates."""
    proxy_file: File = None
    ca_file: File = None
    """Certificates of a private CA, PEM; trusted beside the system's."""


def _host_as_name(data: dict[str, Any]) -> str:
    return urlsplit(data["url"]).hostname or ""


class OrgSettings(Section):
    """An Okta org, and how to prove to it who we are: an SSWS token or an OAuth service app."""

    url: Annotated[str, AfterValidator(check_org_url)]
    """Scheme and host, without a slash at the end: ``https://acme.okta.com``."""
    name: Name = Field(default_factory=_host_as_name)
    """What tables, logs and alerts call it; by default its host. Renaming an org makes a new one."""
    token: Secret = None
    """SSWS token, as it was when the configuration was read."""
    token_file: File = None
    """Where the token came from; a token that is renewed there can be read again."""
    client_id: OptionalName = ""
    """OAuth service app."""
    private_key: Secret = None
    """PEM or JWK."""
    private_key_file: File = None
    kid: OptionalName = ""
    """Key id, which Okta needs when the app has several keys."""
    dpop: bool | None = None
    """Bind access tokens to a key; unset: as soon as Okta says that the app requires it."""
    scopes: Names = ("okta.logs.read",)
    """OAuth scopes to ask for."""
    tags: Names = ()
    """For routing (``"#tag"`` in a notifier's orgs) and reports."""

    @model_validator(mode="after")
    def _one_way_to_sign_in(self) -> "OrgSettings":
        if not self.names("token") and not self.names("private_key"):
            raise misfit(
                "token_file",
                expected="expected token_file (SSWS), or client_id with private_key_file (OAuth)",
                what="missing secret",
            )
        if self.token is not None and not self.token.get_secret_value().isascii():
            raise misfit("token", expected="expected an API token as Okta shows it, in ASCII")
        if self.names("token") and (self.names("private_key") or self.client_id):
            raise misfit(
                "token", expected="expected a token or an OAuth app (client_id, private_key), not both"
            )
        if self.names("private_key") and not self.client_id:
            raise misfit("client_id", expected="expected the OAuth app's client id", what="missing key")
        if self.private_key is not None and not self.private_key.get_secret_value().startswith(
            ("-----BEGIN ", "{")
        ):
            # The SDK would take other text for the name of a file and open that.
            raise misfit("private_key", expected="expected a private key in PEM or as a JWK")
        return self


class RuleSettings(Section):
    """What the operator changed about one rule."""

    enabled: bool | None = None
    """None: as the rule itself says."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Every other key, as it stands in the file: only the rule knows its numbers and their bounds."""

    @model_validator(mode="before")
    @classmethod
    def _set_options_aside(cls, table: Any) -> Any:
        if not isinstance(table, dict):
            return table
        options = {key: value for key, value in table.items() if key != "enabled"}
        return {key: table[key] for key in table if key == "enabled"} | {"options": options}


class DetectionSettings(Section):
    """Which rules look at the events."""

    enable: Patterns = ()
    """Rule ids or globs to turn on beside the default."""
    rules_dir: File = None
    """A folder with rules of one's own."""


def _known_type(name: str) -> str:
    load_channel(name)
    return name


def _type_as_name(data: dict[str, Any]) -> str:
    return str(data["type"])


class NotifierSettings(Section):
    """Where alerts go, and which ones.

    The keys that every notifier has. A channel with keys of its own brings a subclass as its ``Settings``:
    declare a secret key ``x: Secret = None`` together with ``x_file: File = None``, from which it is read.
    """

    type: Annotated[str, AfterValidator(_known_type)]
    """The name of an installed channel."""
    name: Name = Field(default_factory=_type_as_name)
    """The notifier's name in the outbox; a new name makes a new notifier."""
    url: Secret = None
    """Where to; secret since a hook's address is often all that it takes to write there."""
    url_file: File = None
    secret: Secret = None
    """Webhook: key of the HMAC-SHA256 signature."""
    secret_file: File = None
    min_severity: Grade = Severity.LOW
    """Alerts below it are in the table but not sent; a sign-in over Apple's relay is INFO."""
    rules: Patterns = ("*",)
    """Rule ids or globs."""
    orgs: Patterns = ("*",)
    """Names, or tags as ``"#tag"``; ``"*"`` is every org."""
    max_per_minute: int | None = Field(default=30, ge=1)
    """Messages; what exceeds it comes in a digest. HIGH and CRITICAL alerts are counted apart. None: no limit."""
    max_age: PositiveDuration = timedelta(hours=24)
    """A message that could not be sent for so long is a dead letter."""

    def probe_url(self) -> SecretStr | None:
        """Return the URL to whose host `oktawatch check` opens a connection; None for no probe."""
        return None

    def masked_texts(self) -> Iterator[str]:
        """Yield every text that must never be shown: each secret, and the password if it is a URL."""
        for key in type(self).model_fields:
            value = getattr(self, key)
            if isinstance(value, SecretStr):
                yield value.get_secret_value()
                yield from passwords(value.get_secret_value())

    def require_url(self) -> None:
        """Raise the error of a channel that can't do without a URL."""
        if not self.names("url"):
            expected = f"expected url or url_file for type {self.type}"
            raise misfit("url_file", expected=expected, what="missing secret")

    @model_validator(mode="before")
    @classmethod
    def _knows_every_key(cls, table: Any) -> Any:
        for key in table if isinstance(table, dict) else ():
            if key not in cls.model_fields:
                raise misfit(str(key), expected=suggest(str(key), cls.model_fields), what="unknown key")
        return table

    @model_validator(mode="after")
    def _plain_http_stays_on_this_machine(self) -> "NotifierSettings":
        # Channels may have schemes of their own (slack://…).
        if self.url is not None and self.url.get_secret_value().startswith(("http:", "https:")):
            try:
                check_https(self.url.get_secret_value())
            except ValueError as wrong:
                raise misfit("url", expected=str(wrong)) from None
        return self


def _check_by_channel(table: Any) -> Any:
    """Check a notifier's table by the model that its channel brings."""
    if not isinstance(table, dict) or not isinstance(table.get("type"), str):
        return table
    try:
        model = getattr(load_channel(table["type"]), "Settings", NotifierSettings)
    except ValueError:
        return table  # the check of its type says what is wrong
    if not isinstance(model, type) or not issubclass(model, NotifierSettings):
        raise misfit("type", expected="expected a channel whose Settings is a NotifierSettings")
    return model.model_validate(table)


class SilenceSettings(Section):
    """What to do when nothing is heard."""

    after: PositiveDuration = timedelta(minutes=15)
    """An org not polled for that long is an alarm."""
    heartbeat_url: Annotated[Secret, AfterValidator(check_secret_https)] = None
    """Requested after each good round, so that somebody else notices when there is none."""
    heartbeat_url_file: File = None


class RetentionSettings(Section):
    """How long things are kept, by event time. History is kept as long as the rules that are on look back."""

    events: PositiveDuration = timedelta(days=30)
    """What has been seen, and what was rejected."""
    alerts: Annotated[Duration, at_least(timedelta(days=100))] = timedelta(days=400)
    """Okta keeps 90 days; a backfill of those must still know what was alerted."""


class ServiceSettings(Section):
    """The daemon itself."""

    listen: Annotated[str, AfterValidator(check_listen)] = "127.0.0.1:9464"
    """HOST:PORT of /metrics, /healthz and /readyz; empty turns it off."""
    instance: OptionalName = ""
    """Replicas: this one's name; empty stands for the host's."""
    lease_ttl: PositiveDuration = timedelta(seconds=30)
    """Replicas: how long an org stays with one that is not heard of."""
    log_format: Literal["auto", "console", "json"] = "auto"
    """Auto: console on a terminal, JSON elsewhere."""
    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], AnyCase] = "info"


def _at_least_the_log(notifiers: tuple[NotifierSettings, ...]) -> tuple[NotifierSettings, ...]:
    return notifiers or (_check_by_channel({"type": "log"}),)


WITHOUT_EFFECT: dict[str, frozenset[str]] = {"service": frozenset({"listen"})}
"""Keys, by section, that are accepted and have no effect yet."""


class Settings(BaseSettings):
    """Everything an operator said, checked. Made by `load` alone: it reads no variable by itself."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    database: DatabaseSettings = DatabaseSettings()
    poll: PollSettings = PollSettings()
    orgs: Annotated[tuple[OrgSettings, ...], Field(strict=False)] = ()
    rules: dict[str, RuleSettings] = Field(default_factory=dict)
    detection: DetectionSettings = DetectionSettings()
    notifiers: Annotated[
        tuple[Annotated[NotifierSettings, BeforeValidator(_check_by_channel)], ...],
        Field(strict=False, validate_default=True),
        AfterValidator(_at_least_the_log),
    ] = ()
    silence: SilenceSettings = SilenceSettings()
    retention: RetentionSettings = RetentionSettings()
    service: ServiceSettings = ServiceSettings()

    _origins: Origins = PrivateAttr()
    _source: Path | None = PrivateAttr()
    _folder: Path = PrivateAttr()
    _egress: Egress = PrivateAttr()

    def __init__(
        self,
        *layers: dict[str, Any],
        origins: Origins,
        source: Path | None,
        folder: Path,
        egress: Egress,
    ) -> None:
        """Lay raw tables over each other, the first on top, and check the whole."""
        sources = tuple(InitSettingsSource(type(self), layer) for layer in layers)
        super().__init__(_build_sources=(sources, {}))
        self._origins, self._source, self._folder, self._egress = origins, source, folder, egress

    @model_validator(mode="after")
    def _has_orgs_with_names_of_their_own(self) -> "Settings":
        if not self.orgs:
            expected = "expected at least one [[orgs]] with url and token_file"
            raise misfit("orgs", expected=expected, what="no org")
        for key in ("orgs", "notifiers"):
            seen: set[str] = set()
            for index, entry in enumerate(getattr(self, key)):
                if entry.name in seen:
                    expected = "expected a name of its own, and another has this one"
                    raise misfit(key, index, "name", expected=expected)
                seen.add(entry.name)
        return self

    @model_validator(mode="after")
    def _notifiers_name_orgs_that_exist(self) -> "Settings":
        # Passed over in silence, a slip of the pen would keep alerts from whom they are for.
        targets = {"*", *(org.name for org in self.orgs)}
        targets.update(f"#{tag}" for org in self.orgs for tag in org.tags)
        for index, notifier in enumerate(self.notifiers):
            if not targets.issuperset(notifier.orgs):
                expected = 'expected the names of orgs that exist, tags as "#tag", or "*"'
                raise misfit("notifiers", index, "orgs", expected=expected)
        return self

    @model_validator(mode="after")
    def _sweeps_find_what_was_seen(self) -> "Settings":
        # A sweep would else call what polling brought, and pruning forgot, late.
        least = self.poll.sweep_window + _BEYOND_A_SWEEP
        if self.retention.events < least:
            expected = f"expected at least {format_duration(least)}: poll.sweep_window and a day"
            raise misfit("retention", "events", expected=expected)
        return self

    @model_validator(mode="after")
    def _silence_outlasts_an_interval(self) -> "Settings":
        # Each pause between two polls would else be an alarm, and its end another message.
        if self.silence.after < self.poll.interval * _INTERVALS_TO_SILENCE:
            expected = f"expected at least {_INTERVALS_TO_SILENCE} times poll.interval"
            raise misfit("silence", "after", expected=expected)
        return self

    @property
    def source(self) -> Path | None:
        """The configuration file; None when everything came from the environment."""
        return self._source

    @property
    def folder(self) -> Path:
        """What relative paths are relative to: the file's folder, else the working directory."""
        return self._folder

    def proxy_for(self, url: str) -> SecretStr | None:
        """Give the URL of the egress proxy that leads to an org or a webhook; None for the direct way."""
        return self._egress.proxy_for(url, self.poll.proxy)

    def error(self, what: str, *place: str | int, expected: str) -> ConfigError:
        """Make the error of a value that only another room can judge, with the file and key it came from.

        ``settings.error("wrong value", "rules", rule_id, "threshold", expected="…")``
        """
        return ConfigError(what, self._origins.where(place), expected)

    def without_effect(self) -> list[str]:
        """List the keys that an operator set but that have no effect yet, each with where it was set."""
        keys = WITHOUT_EFFECT["service"] & self.service.model_fields_set
        return [
            self._origins.where(("service", key))
            for key in sorted(keys)
            if getattr(self.service, key) is not None
        ]

    def secrets(self) -> Iterator[str]:
        """Give every text that must never be shown, for the log's last line of defence."""
        for org in self.orgs:
            yield from texts(org.token, org.private_key)
        for notifier in self.notifiers:
            yield from notifier.masked_texts()
        yield from texts(self.silence.heartbeat_url)
        for url in texts(self.database.url, self.poll.proxy, self._egress.proxy):
            yield from passwords(url)
