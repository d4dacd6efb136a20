"""The settings: every key with its default, unit and purpose.

Settings are immutable, and validated when they are read. Validation is strict: ``page_size = "500"`` has a wrong type.
Secrets are SecretStr, which is displayed as asterisks.
"""

from collections.abc import Iterator, Sequence
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

from oktawatch.config.allow import AllowSettings
from oktawatch.config.egress import Egress
from oktawatch.config.errors import ConfigError, Origins, invalid_value
from oktawatch.config.evidence import EvidenceSettings, EvidenceSourceSettings
from oktawatch.config.notifiers import NotifierSettings, validate_by_channel
from oktawatch.config.secret_masking import passwords, query_secrets, secret_values
from oktawatch.config.section import Section
from oktawatch.config.validators import (
    AnyCase,
    Duration,
    File,
    Name,
    Names,
    OptionalName,
    Patterns,
    PositiveDuration,
    Secret,
    at_least,
    check_database,
    check_listen,
    check_org_url,
    check_proxy,
    check_secret_https,
)
from oktawatch.model.durations import format_duration

_MARGIN_AFTER_SWEEP = timedelta(days=1)
_INTERVALS_TO_SILENCE = 1.5  # a poll starts up to a tenth of the interval late, and takes a while


class DatabaseSettings(Section):
    """The database."""

    url: Annotated[SecretStr, AfterValidator(check_database)] = SecretStr("sqlite:///oktawatch.db")
    """The SQLAlchemy URL. Secret, because it can contain a password.

    `load` makes the path of an SQLite file absolute."""
    url_file: File = None
    auto_upgrade: bool = False
    """Upgrade a Postgres schema at the start of `run`. Off, because the server's administrator decides when."""


class PollSettings(Section):
    """Requests to Okta."""

    interval: PositiveDuration = timedelta(seconds=30)
    """The time between the starts of two polls of an org."""
    page_size: int = Field(default=1000, ge=1, le=1000)
    """Events per request. 1000 is Okta's maximum; smaller pages use more of the rate limit."""
    initial_lookback: Duration = timedelta(hours=24)
    """How far back the first poll of a new org starts."""
    rate_limit_share: float = Field(default=0.5, gt=0, le=1)
    """The share of the org's rate limit to use. The rest is left to other clients of the org."""
    sweep_interval: PositiveDuration = timedelta(hours=1)
    """The time between the starts of two sweeps of an org, which read recent events again to find late ones."""
    sweep_window: PositiveDuration = timedelta(hours=2)
    """A sweep begins to read this long before the end of the previous sweep."""
    proxy: Annotated[Secret, AfterValidator(check_proxy)] = None
    """The egress proxy. Defaults to HTTPS_PROXY, and NO_PROXY applies. Secret, because it can contain a password.

    Webhooks, the heartbeat and downloads of evidence use the same proxy and certificates."""
    proxy_file: File = None
    ca_file: File = None
    """PEM file with the certificates of a private CA, trusted in addition to the system's."""


def _host_as_name(data: dict[str, Any]) -> str:
    return urlsplit(data["url"]).hostname or ""


class OrgSettings(Section):
    """An Okta org and its credentials: an SSWS token or an OAuth service app."""

    url: Annotated[str, AfterValidator(check_org_url)]
    """Scheme and host, without a trailing slash: ``https://acme.okta.com``."""
    name: Name = Field(default_factory=_host_as_name)
    """The name in tables, logs and alerts. Defaults to the host. A renamed org is a new one."""
    token: Secret = None
    """The SSWS token, as it was when the configuration was read."""
    token_file: File = None
    """The file of the token. If Okta refuses the token, the file is read again, so a renewed token needs no restart."""
    client_id: OptionalName = ""
    """The client id of the OAuth service app."""
    private_key: Secret = None
    """The private key of the app, PEM or JWK."""
    private_key_file: File = None
    kid: OptionalName = ""
    """The key id, required by Okta if the app has several keys."""
    dpop: bool | None = None
    """Whether to bind access tokens to a key. Unset: bind them if Okta reports that the app requires it."""
    scopes: Names = ("okta.logs.read",)
    """The OAuth scopes to request."""
    tags: Names = ()
    """Tags for routing (``"#tag"`` in a notifier's orgs)."""

    @model_validator(mode="after")
    def _has_one_credential(self) -> "OrgSettings":
        if not self.has_secret("token") and not self.has_secret("private_key"):
            raise invalid_value(
                "token_file",
                expected="expected token_file (SSWS), or client_id with private_key_file (OAuth)",
                what="missing secret",
            )
        if self.token is not None and not self.token.get_secret_value().isascii():
            raise invalid_value("token", expected="expected an API token as Okta shows it, in ASCII")
        if self.has_secret("token") and (self.has_secret("private_key") or self.client_id):
            raise invalid_value(
                "token", expected="expected a token or an OAuth app (client_id, private_key), not both"
            )
        if self.has_secret("private_key") and not self.client_id:
            raise invalid_value(
                "client_id", expected="expected the OAuth app's client id", what="missing key"
            )
        if self.private_key is not None and not self.private_key.get_secret_value().startswith(
            ("-----BEGIN ", "{")
        ):
            # The SDK would interpret other text as a file name and open that file.
            raise invalid_value("private_key", expected="expected a private key in PEM or as a JWK")
        return self


class RuleSettings(Section):
    """Changes to a rule."""

    enabled: bool | None = None
    """None: the rule's default, or on if `detection.enable` matches the rule's id."""
    options: dict[str, Any] = Field(default_factory=dict)
    """All other keys, not validated yet: only the rule knows its options and their bounds."""

    @model_validator(mode="before")
    @classmethod
    def _separate_options(cls, table: Any) -> Any:
        if not isinstance(table, dict):
            return table
        options = {key: value for key, value in table.items() if key != "enabled"}
        return {key: table[key] for key in table if key == "enabled"} | {"options": options}


class DetectionSettings(Section):
    """The enabled rules."""

    enable: Patterns = ()
    """Ids or globs of rules to enable in addition to the defaults."""
    rules_dir: File = None
    """A folder with user-written rules."""


class SilenceSettings(Section):
    """Alarms when oktawatch itself doesn't work."""

    after: PositiveDuration = timedelta(minutes=15)
    """How long an org may go without a successful poll, a failing notifier without a delivery, or the database without a
    write, before an alarm is raised."""
    heartbeat_url: Annotated[Secret, AfterValidator(check_secret_https)] = None
    """Requested each time all orgs of this process have been polled successfully.

    An external service notices when the requests stop."""
    heartbeat_url_file: File = None


class RetentionSettings(Section):
    """Retention, by event time for rows that have one. Events that an enabled rule still needs are kept longer."""

    events: PositiveDuration = timedelta(days=30)
    """Retention of events and rejected events."""
    alerts: Annotated[Duration, at_least(timedelta(days=100))] = timedelta(days=400)
    """Retention of alerts. Longer than Okta's 90 days, because a backfill must find existing alerts."""
    sightings: PositiveDuration = timedelta(days=180)
    """Retention of sightings, counted from the latest sign-in of each person and address."""


class ServiceSettings(Section):
    """The daemon."""

    listen: Annotated[str, AfterValidator(check_listen)] = "127.0.0.1:9464"
    """HOST:PORT of /metrics, /healthz and /readyz. An empty string disables them."""
    instance: OptionalName = ""
    """The name of this replica. Defaults to the host name."""
    lease_ttl: PositiveDuration = timedelta(seconds=30)
    """The time after which an unresponsive replica loses its orgs."""
    log_format: Literal["auto", "console", "json"] = "auto"
    """``auto``: console on a terminal, JSON elsewhere."""
    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], AnyCase] = "info"


def _log_by_default(notifiers: tuple[NotifierSettings, ...]) -> tuple[NotifierSettings, ...]:
    return notifiers or (validate_by_channel({"type": "log"}),)


def _merged(layers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge tables key by key. The first table takes precedence. Lists are not merged."""
    result: dict[str, Any] = {}
    for layer in reversed(layers):
        for key, value in layer.items():
            lower = result.get(key)
            if isinstance(value, dict) and isinstance(lower, dict):
                value = _merged((value, lower))  # noqa: PLW2901 -- the merged value
            result[key] = value
    return result


class Settings(BaseModel):
    """The validated settings, which only `load` creates."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    database: DatabaseSettings = DatabaseSettings()
    poll: PollSettings = PollSettings()
    orgs: Annotated[tuple[OrgSettings, ...], Field(strict=False)] = ()
    rules: dict[str, RuleSettings] = Field(default_factory=dict)
    detection: DetectionSettings = DetectionSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    allow: Annotated[tuple[AllowSettings, ...], Field(strict=False)] = ()
    notifiers: Annotated[
        tuple[Annotated[NotifierSettings, BeforeValidator(validate_by_channel)], ...],
        Field(strict=False, validate_default=True),
        AfterValidator(_log_by_default),
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
        """Merge layers of raw tables, the first of which takes precedence, and validate the result."""
        super().__init__(**_merged(layers))
        self._origins, self._source, self._folder, self._egress = origins, source, folder, egress

    @model_validator(mode="after")
    def _has_orgs_and_unique_names(self) -> "Settings":
        if not self.orgs:
            expected = "expected at least one [[orgs]] with url and token_file"
            raise invalid_value("orgs", expected=expected, what="no org")
        lists: dict[tuple[str, ...], Sequence[OrgSettings | NotifierSettings | EvidenceSourceSettings]]
        lists = {
            ("orgs",): self.orgs,
            ("notifiers",): self.notifiers,
            ("evidence", "sources"): self.evidence.sources,
        }
        for location, entries in lists.items():
            seen: set[str] = set()
            for index, entry in enumerate(entries):
                if entry.name in seen:
                    expected = "expected a unique name, and another entry has this one"
                    raise invalid_value(*location, index, "name", expected=expected)
                seen.add(entry.name)
        return self

    @model_validator(mode="after")
    def _names_existing_orgs(self) -> "Settings":
        # If a typo were ignored, a notifier would miss alerts, and an allow entry would have no effect.
        names = [org.name for org in self.orgs]
        tags = sorted({f"#{tag}" for org in self.orgs for tag in org.tags})
        targets = {"*", *names, *tags}
        expected = 'expected the names of orgs that exist, tags as "#tag", or "*"'
        expected += f"; there are: {', '.join([*names, *tags])}"
        for key in ("notifiers", "allow"):
            for index, entry in enumerate(getattr(self, key)):
                if not targets.issuperset(entry.orgs):
                    raise invalid_value(key, index, "orgs", expected=expected)
        return self

    @model_validator(mode="after")
    def _events_outlive_sweeps(self) -> "Settings":
        # Otherwise a sweep would read events again that pruning has deleted, and count them as late.
        least = self.poll.sweep_window + _MARGIN_AFTER_SWEEP
        if self.retention.events < least:
            expected = f"expected at least {format_duration(least)} (poll.sweep_window plus one day)"
            raise invalid_value("retention", "events", expected=expected)
        return self

    @model_validator(mode="after")
    def _silence_outlasts_an_interval(self) -> "Settings":
        # Otherwise each pause between two polls would raise an alarm.
        if self.silence.after < self.poll.interval * _INTERVALS_TO_SILENCE:
            expected = f"expected at least {_INTERVALS_TO_SILENCE} times poll.interval"
            raise invalid_value("silence", "after", expected=expected)
        return self

    @property
    def source(self) -> Path | None:
        """The configuration file. None if all settings came from the environment."""
        return self._source

    @property
    def folder(self) -> Path:
        """The base of relative paths: the folder of the file, or else the working directory."""
        return self._folder

    def proxy_for(self, url: str) -> SecretStr | None:
        """Return the URL of the egress proxy for requests to a URL. None for a direct connection.

        Raises ValueError if the proxy's URL is in a file that was not read.
        """
        if self.poll.proxy is None and self.poll.has_secret("proxy"):
            raise ValueError(f"expected a readable file at {self.poll.proxy_file} (poll.proxy_file)")
        return self._egress.proxy_for(url, self.poll.proxy)

    def error(self, what: str, *location: str | int, expected: str) -> ConfigError:
        """Return the error for a value that another package validates, with the file and key of the value.

        ``settings.error("wrong value", "rules", rule_id, "threshold", expected="…")``
        """
        return ConfigError(what, self._origins.where(location), expected)

    def secrets(self) -> Iterator[str]:
        """Yield every text that the log must mask."""
        for org in self.orgs:
            yield from secret_values(org.token, org.private_key)
        for notifier in self.notifiers:
            yield from notifier.masked_texts()
        yield from secret_values(self.silence.heartbeat_url)
        for url in secret_values(*(source.url for source in self.evidence.sources)):
            yield url
            yield from (*passwords(url), *query_secrets(url))
        for url in secret_values(self.database.url, self.poll.proxy, self._egress.proxy):
            yield from passwords(url)
