"""The composition root: the only place that turns settings into working parts.

Other modules get plain values. import-linter forbids them to import the settings, with exceptions
(docs/architecture.md).

Parts are built on first use, so that listing rules needs no credentials. `Application.build` builds all parts at
once, for a program that must validate its configuration before it changes anything. A part that can't be built raises
a ConfigError with the file and key.

The parts that need a database are built by `service/database.py` and by the use cases, so that reading settings
imports neither SQLAlchemy nor the Okta SDK.
"""

import ssl
from collections.abc import Awaitable, Callable, Collection, Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cached_property, partial, reduce
from pathlib import Path
from typing import Any, Self

import structlog
from msgspec import Struct
from pydantic import SecretStr

from oktawatch.config import load
from oktawatch.config.channels import ChannelError, build_channel
from oktawatch.config.errors import ConfigError
from oktawatch.config.evidence import EvidenceSourceSettings
from oktawatch.config.secrets import MULTILINE, SECRET_KEYS, read_secret, secret_keys, sqlite_file
from oktawatch.config.settings import OrgSettings, Settings
from oktawatch.detection.allow import CONDITIONS, AllowEntry, AllowList
from oktawatch.detection.evidence import Evidence
from oktawatch.detection.evidence_severity import SeverityTable
from oktawatch.detection.options import RuleOptionError, UnknownRuleError
from oktawatch.detection.registry import RuleSet, RuleSettings
from oktawatch.detection.rule import EventRule, Rule
from oktawatch.engine.evidence_files import EvidenceFile
from oktawatch.engine.evidence_sources import EvidenceFileError, EvidenceSources
from oktawatch.engine.evidence_updates import LARGEST, FetchedEvidence, folder_name
from oktawatch.engine.routing import Route
from oktawatch.engine.rulebook import Rulebook, read_rulebook
from oktawatch.engine.state_folder import state_folder
from oktawatch.logs import hide
from oktawatch.model.anonymizer_kind import AnonymizerKind
from oktawatch.model.notification import NotificationKind
from oktawatch.notify.channel import DIRECT, Channel, Way
from oktawatch.notify.composer import Composer
from oktawatch.notify.escalation import Escalation
from oktawatch.notify.heartbeat import send_heartbeat
from oktawatch.notify.rule_text import RuleText
from oktawatch.service.download import download
from oktawatch.systemlog.access import OrgAccess, ServiceApp
from oktawatch.systemlog.keys import read_private_key
from oktawatch.systemlog.tls import load_ca_file

_log: Any = structlog.get_logger(__name__)


class ConfiguredNotifier(Struct, frozen=True, kw_only=True):
    """A notifier's channel and delivery limits."""

    name: str
    type: str
    channel: Channel
    max_age: timedelta
    per_minute: int | None
    escalation: Escalation


class Application:
    """The parts that settings describe."""

    def __init__(self, settings: Settings, *, orgs: Collection[str] = (), rule_id: str | None = None) -> None:
        """Copy the plain values. No part is built yet.

        ``orgs`` are the names of the orgs to read, by default all. ``rule_id`` is the only rule to use, enabled or
        not; by default, use the enabled rules.
        """
        self._settings = settings
        self._rule_id = rule_id
        self.org_tags = {org.name: org.tags for org in settings.orgs}
        """The tags of every org, by its name."""
        self.orgs = [name for name in self.org_tags if not orgs or name in orgs]
        """The names of the orgs to read."""
        self.source = str(settings.source or "the environment")
        """The configuration file, or ``the environment``."""
        self.database_url = settings.database.url
        self.database_file = sqlite_file(settings.database.url.get_secret_value())
        """The SQLite file, or None on Postgres."""
        self.auto_upgrade = settings.database.auto_upgrade
        self.poll_interval = settings.poll.interval
        self.page_size = settings.poll.page_size
        self.initial_lookback = settings.poll.initial_lookback
        self.rate_limit_share = settings.poll.rate_limit_share
        self.sweep_interval = settings.poll.sweep_interval
        self.sweep_window = settings.poll.sweep_window
        self.silence_after = settings.silence.after
        self.keep_events = settings.retention.events
        self.keep_alerts = settings.retention.alerts
        self.keep_sightings = settings.retention.sightings
        self.instance = settings.service.instance
        self.listen = settings.service.listen
        self.lease_ttl = settings.service.lease_ttl
        self.log_format = settings.service.log_format
        self.log_level = settings.service.log_level

    @classmethod
    def build(
        cls,
        settings: Settings,
        *,
        strict: bool = False,
        orgs: Collection[str] = (),
        rule_id: str | None = None,
    ) -> Self:
        """Build all parts. Raises ConfigError.

        An unusable custom rule raises it only if ``strict``. Otherwise it is left out, and logged without ``rule_id``.
        """
        app = cls(settings, orgs=orgs, rule_id=rule_id)
        if strict:
            app.require_usable_rules()
        for problem in app.rulebook.found.problems if rule_id is None else ():
            _log.error("rule_unusable", problem=str(problem))
        app.load_evidence()
        # Building the parts finds the errors.
        _parts = app.rules, app.allow, app.accesses, app.notifiers, app.tls_context
        return app

    @classmethod
    def read(cls, path: Path | None) -> Self:
        """Read the configuration as a start does, and build all parts with ``strict``. Raises ConfigError."""
        settings = load(path)
        for secret in settings.secrets():
            hide(secret)
        return cls.build(settings, strict=True)

    @cached_property
    def rulebook(self) -> Rulebook:
        """All rules. Raises ConfigError for an unreadable `rules_dir`, an unknown rule or option, or an invalid value."""
        settings = self._settings
        try:
            rulebook = read_rulebook(
                settings.detection.rules_dir,
                {name: RuleSettings(rule.enabled, rule.options) for name, rule in settings.rules.items()},
                settings.detection.enable,
                base=settings.folder,
                evidence=self.evidence,
            )
        except RuleOptionError as error:
            raise self._rule_error(error) from None
        except OSError as error:
            expected = f"expected a folder that can be read: {error.strerror or 'it fails'}"
            raise settings.error("no rules", "detection", "rules_dir", expected=expected) from None
        if not rulebook.found.problems:
            for index, notifier in enumerate(settings.notifiers):
                self._check_globs(notifier.rules, rulebook.found.rules, "notifiers", index)
        return rulebook

    @cached_property
    def evidence(self) -> Evidence:
        """The evidence about addresses. `load_evidence` loads its sources."""
        settings = self._settings.evidence
        return Evidence(settings.operators, SeverityTable(settings.severity, settings.adjustments))

    @cached_property
    def evidence_sources(self) -> EvidenceSources:
        """The configured sources of evidence, not loaded yet."""
        return EvidenceSources(self.evidence, [*map(self._evidence_source, self._settings.evidence.sources)])

    def load_evidence(self) -> None:
        """Load the sources of evidence, before events are evaluated. Raises ConfigError."""
        try:
            self.evidence_sources.load()
        except EvidenceFileError as error:
            place = "evidence", "sources", error.index, "path"
            raise self._settings.error("no evidence", *place, expected=str(error)) from None

    def require_usable_rules(self) -> None:
        """Raise ConfigError for the first rule that can't be used, or as `rulebook` does."""
        for problem in self.rulebook.found.problems:
            raise ConfigError("unusable rule", problem.where, problem.problem)

    @cached_property
    def rules(self) -> RuleSet:
        """The enabled rules, or the only rule to use. Raises ConfigError if that doesn't exist, or as `rulebook` does."""
        if self._rule_id is None:
            return self.rulebook.rules
        found = self.rulebook.found
        if self._rule_id not in found.rules:
            expected = "; ".join([f"expected one of {', '.join(found.rules)}", *map(str, found.problems)])
            raise ConfigError("no such rule", self._rule_id, expected)
        return self.rulebook.only(self._rule_id)

    @cached_property
    def allow(self) -> AllowList:
        """The allow entries. Raises ConfigError for an unknown rule, a repeated entry, or one that allows everything."""
        entries: dict[str, AllowEntry] = {}
        for index, settings in enumerate(self._settings.allow):
            entry = AllowEntry(
                reason=settings.reason,
                until=settings.until,
                **{name: getattr(settings, name) for name in CONDITIONS},
            )
            self._check_entry(entry, index)
            if entry.id in entries:
                place = f"allow[#{list(entries).index(entry.id) + 1}]"
                expected = f"expected other conditions than those of {place}"
                raise self._settings.error("repeated entry", "allow", index, expected=expected)
            entries[entry.id] = entry
        return AllowList(entries.values())

    def options(self, rule_id: str) -> dict[str, Any]:
        """Return the configured options of a rule, unparsed."""
        rules = self._settings.rules
        return rules[rule_id].options if rule_id in rules else {}

    def is_turned_off(self, rule_id: str) -> bool:
        """Return whether the configuration turns a rule off explicitly."""
        rules = self._settings.rules
        return rule_id in rules and rules[rule_id].enabled is False

    @cached_property
    def accesses(self) -> dict[str, OrgAccess]:
        """The access to each org to read, by its name. Raises ConfigError as `access` does."""
        return {name: self.access(name) for name in self.orgs}

    def access(self, name: str, *, renewed: bool = False) -> OrgAccess:
        """Build the access to an org. With ``renewed``, read the file of its secret again.

        Raises ConfigError if the credentials can't be used.
        """
        org = next(org for org in self._settings.orgs if org.name == name)
        key = "token" if org.private_key is None else "private_key"
        secret, file = getattr(org, key), getattr(org, f"{key}_file")
        try:
            if renewed and file is not None:
                secret = read_secret(file, multiline=key in MULTILINE)
            access = _access(org, secret, self._settings.proxy_for(org.url))
        except ValueError as error:
            problem = str(error)
        else:
            for text in access.secrets():
                hide(text)
            return access
        # Raised outside of the handler, so that no secret is in the context of the error.
        place = "orgs", self._settings.orgs.index(org), key
        raise self._settings.error("no credentials", *place, expected=problem)

    @cached_property
    def tls_context(self) -> ssl.SSLContext | None:
        """The TLS context for `poll.ca_file`; None for the system's certificate authorities. Raises ConfigError."""
        if self._settings.poll.ca_file is None:
            return None
        try:
            return load_ca_file(self._settings.poll.ca_file)
        except ValueError as error:
            raise self._settings.error("no certificates", "poll", "ca_file", expected=str(error)) from None

    def way(self, url: SecretStr | None) -> Way:
        """Select the proxy and the TLS context for a URL. Apprise selects the proxy for URLs with its own schemes."""
        if url is None:
            return DIRECT
        if not url.get_secret_value().startswith(("http:", "https:")):
            return Way(trust=self.tls_context)
        return Way(proxy=_plain(self._settings.proxy_for(url.get_secret_value())), trust=self.tls_context)

    @cached_property
    def notifiers(self) -> list[ConfiguredNotifier]:
        """The notifiers with their channels, not connected yet. Raises ConfigError."""
        return [self._notifier(index) for index in range(len(self._settings.notifiers))]

    @property
    def channels(self) -> dict[str, Channel]:
        """The notifiers' channels, by the notifiers' names."""
        return {notifier.name: notifier.channel for notifier in self.notifiers}

    def probe_url(self, name: str) -> SecretStr | None:
        """Return the URL whose host shows whether a notifier can be reached; None if only a test message shows it."""
        return next(notifier.probe_url() for notifier in self._settings.notifiers if notifier.name == name)

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        """The routing: which notifier gets which alerts."""
        return tuple(
            Route(
                notifier=notifier.name,
                min_severity=notifier.min_severity,
                rules=notifier.rules,
                orgs=notifier.orgs,
                on=tuple(map(NotificationKind, notifier.on)),
            )
            for notifier in self._settings.notifiers
        )

    def composer(self, rules: RuleSet) -> Composer:
        """Build the composer of messages about alerts of these rules."""
        return Composer(
            orgs={org.name: org.url for org in self._settings.orgs},
            rules={rule.id: rule_text(rule) for rule in rules.rules},
        )

    @property
    def heartbeat(self) -> Callable[[], Awaitable[None]] | None:
        """The function that sends a heartbeat, or None if no heartbeat is configured."""
        return None if self._settings.silence.heartbeat_url is None else self._send_heartbeat

    def secret_files(self) -> Iterator[Path]:
        """Yield the configured files of secrets."""
        for section in SECRET_KEYS:
            tables: Any = reduce(getattr, section.split("."), self._settings)
            for table in tables if isinstance(tables, tuple) else (tables,):
                files = (getattr(table, f"{secret}_file") for secret in secret_keys(type(table)))
                yield from (file for file in files if file is not None)

    def database_error(self, what: str, problem: str) -> ConfigError:
        """Build the error for a database that can't be used as configured."""
        return self._settings.error(what, "database", "url", expected=problem)

    async def _send_heartbeat(self) -> None:
        if (url := self._settings.silence.heartbeat_url) is not None:
            await send_heartbeat(url.get_secret_value(), self.way(url))

    def _evidence_source(self, source: EvidenceSourceSettings) -> EvidenceFile | FetchedEvidence:
        fetched = source.has_secret("url")
        folder = state_folder(self.database_file) / "evidence" / folder_name(source.name)
        file = EvidenceFile(
            name=source.name,
            path=folder if fetched else self._settings.folder / source.path,
            format=source.format,
            kind=source.kind or AnonymizerKind.UNKNOWN,
            operator=source.operator or None,
        )
        refresh = self._settings.evidence.refresh
        if not fetched:
            return file
        if source.url is None:  # a command that reads no secrets can still list the source
            return FetchedEvidence(file, refresh=refresh)
        fetch = partial(download, source.url, way=self.way, limit=LARGEST[source.format])
        return FetchedEvidence(file, refresh=refresh, url=source.url.get_secret_value(), fetch=fetch)

    def _rule_error(self, error: RuleOptionError) -> ConfigError:
        if isinstance(error, UnknownRuleError):
            named = error.rule_id in self._settings.rules
            place = ("rules", error.rule_id) if named else ("detection", "enable")
            return self._settings.error("unknown rule", *place, expected=str(error))
        key = () if error.key is None else (error.key,)
        return self._settings.error("wrong value", "rules", error.rule_id, *key, expected=str(error))

    def _check_globs(self, globs: Collection[str], known: Collection[str], *place: str | int) -> None:
        # An unnoticed typo would mean that a notifier never gets its alerts, or that an allow entry has no effect.
        if not all(any(fnmatchcase(rule_id, glob) for rule_id in known) for glob in globs):
            expected = f"expected ids or globs of rules that exist; there are: {', '.join(known)}"
            raise self._settings.error("unknown rule", *place, "rules", expected=expected)

    def _check_entry(self, entry: AllowEntry, index: int) -> None:
        every, enabled = self.rulebook.every, [rule.id for rule in self.rulebook.rules.rules]
        if not self.rulebook.found.problems:
            self._check_globs(entry.rules, every, "allow", index)
        if entry.applies_to_everything(enabled or every, self.org_tags):
            expected = f"expected a condition that excludes some matches, with one of {', '.join(CONDITIONS)}"
            raise self._settings.error("entry for everything", "allow", index, expected=expected)

    def _notifier(self, index: int) -> ConfiguredNotifier:
        notifier = self._settings.notifiers[index]
        others = tuple(other.name for other in self._settings.notifiers if other is not notifier)
        try:
            return ConfiguredNotifier(
                name=notifier.name,
                type=notifier.type,
                channel=build_channel(notifier.type, notifier, self.way(notifier.url)),
                max_age=notifier.max_age,
                per_minute=notifier.max_per_minute,
                escalation=Escalation(names=others, after=self.silence_after),
            )
        except ValueError as error:
            key, problem = ("type" if isinstance(error, ChannelError) else "url"), str(error)
        # Raised outside of the handler, so that no secret is in the context of the error.
        raise self._settings.error("wrong value", "notifiers", index, key, expected=problem)


def rule_text(rule: Rule) -> RuleText:
    """Return the parts of a rule that messages quote."""
    about_sign_in = isinstance(rule, EventRule) and rule.event_types == ("user.session.start",)
    return RuleText(rule.name, rule.runbook, rule.mitre, about_sign_in)


def _access(org: OrgSettings, secret: SecretStr | None, proxy: SecretStr | None) -> OrgAccess:
    """Build the access to an org. Raises ValueError if the secret can't be sent in a request."""
    text = _plain(secret) or ""
    if org.private_key is None:
        return OrgAccess(org.name, org.url, text, proxy=_plain(proxy))
    key, kid = read_private_key(text)
    app = ServiceApp(org.client_id, key, kid=org.kid or kid, dpop=org.dpop, scopes=org.scopes)
    return OrgAccess(org.name, org.url, app=app, proxy=_plain(proxy))


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
