"""Check everything that can be checked without changing anything: `oktawatch check`.

For each org, one event is requested with the filter of polling, to test the credentials, the permission and the
filter. A second request looks for blocked requests from anonymizers, unless the rule about them is enabled or explicitly
disabled. The database is tested with a write that changes nothing, and the disk of an SQLite file with a
temporary file. A database that does not exist yet is not created.
"""

import asyncio
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from urllib.parse import urlsplit

from msgspec import Struct

from oktawatch.config.errors import ConfigError
from oktawatch.detection.registry import RuleSet
from oktawatch.detection.rule import EventRule
from oktawatch.detection.rules.blocked_anonymizer import BlockedAnonymizer
from oktawatch.engine import channel_calls
from oktawatch.engine.evidence_files import SourceState
from oktawatch.engine.page_source import PageSource
from oktawatch.model.notification import DueNotification, NotificationKind
from oktawatch.model.timestamps import utc_now
from oktawatch.notify.channel import DeliveryError
from oktawatch.notify.file import FileChannel
from oktawatch.notify.message import Message
from oktawatch.service.app import Application, ConfiguredNotifier
from oktawatch.service.blocked_requests import SEARCH_PERIOD, count_blocked_requests
from oktawatch.service.connections import connections
from oktawatch.store.database import Database
from oktawatch.store.errors import MissingDatabaseError, NewerSchemaError, SchemaError, StoreError
from oktawatch.store.schema import commit_write, require_current
from oktawatch.store.space import LITTLE_SPACE
from oktawatch.systemlog.budget import RateBudget
from oktawatch.systemlog.errors import SystemLogError
from oktawatch.systemlog.page import Page
from oktawatch.systemlog.queries import polling_query

LARGE_SHARE = 0.6
"""By default, Okta mails an org's admins when a larger share of a rate limit is used."""
_BLOCK = b"\0" * 65_536
_PROBE_SIZE = 1024**2  # bytes
_RECENT = timedelta(minutes=5)  # how far back an event is requested
_SKEW = timedelta(seconds=60)
"""A larger difference between Okta's clock and this machine's is a warning."""
_ORGS_AT_ONCE = 16
_NOTIFIER_TIMEOUT_S = 30


class Verdict(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"
    """Usable, but possibly not intended."""
    FAILED = "failed"


class Finding(Struct, frozen=True, kw_only=True):
    """The result of one check."""

    about: str
    """The subject, such as ``org acme``."""
    verdict: Verdict
    message: str
    """One line for people."""


async def check(app: Application, *, send_test: bool = False) -> list[Finding]:
    """Run all checks. The configuration itself was valid, or there would be no application.

    ``send_test`` sends each notifier a test message, without the outbox.
    """
    findings = list(_configuration(app))
    rules = RuleSet([])
    try:
        rulebook = app.rulebook
    except ConfigError as error:
        findings.append(_failed("rules", str(error)))
    else:
        rules = rulebook.rules
        findings.append(_rules(rules))
        findings += [_failed("rules", str(problem)) for problem in rulebook.found.problems]
        findings += _allow(app)
    findings += await asyncio.to_thread(_evidence, app)
    findings.append(await asyncio.to_thread(_database, app))
    findings += await asyncio.to_thread(_disk, app)
    findings += await _orgs(app, rules, _rule_to_recommend(app))
    return [*findings, *await _notifiers(app, send_test=send_test)]


def _configuration(app: Application) -> Iterator[Finding]:
    yield _ok("configuration", f"{app.source}: {_count(len(app.org_tags), 'org')}")
    if app.rate_limit_share > LARGE_SHARE:
        yield _warning(
            "configuration",
            f"poll.rate_limit_share is above {LARGE_SHARE}: Okta mails the org's admins when that much is used",
        )
    for file in dict.fromkeys(app.secret_files()):
        if file.stat().st_mode & stat.S_IROTH:
            yield _warning("secrets", f"{file} can be read by every user of this machine: chmod o-r {file}")


def _rules(rules: RuleSet) -> Finding:
    names = ", ".join(rule.id for rule in rules.rules)
    return (
        _ok("rules", f"enabled: {names}")
        if names
        else _warning("rules", "no rule is enabled, so nothing is detected")
    )


def _allow(app: Application) -> list[Finding]:
    try:
        entries = app.allow.entries
    except ConfigError as error:
        return [_failed("allow", str(error))]
    findings = (
        [_ok("allow", f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}")] if entries else []
    )
    for entry in entries:
        name = f"entry {entry.id} ({entry.reason})"
        if entry.until is None:
            findings.append(_warning("allow", f"{name} has no end: set until = a date, and review it then"))
        elif entry.has_expired(utc_now()):
            findings.append(
                _warning("allow", f"{name} expired on {entry.until}: remove it, or set a later date")
            )
    return findings


def _evidence(app: Application) -> list[Finding]:
    return [_source(state) for state in app.evidence_sources.inspect(utc_now())]


def _source(state: SourceState) -> Finding:
    about = f"evidence {state.file.name}"
    if not state.fetched:
        if state.modified_at is None or state.problem:
            return _failed(about, f"{state.file.path}: {state.problem}")
        return _ok(about, f"{state.contents}, modified on {state.modified_at:%Y-%m-%d}")
    # A source with a URL is optional, so a problem is no failure.
    if state.checked_at is None:
        hint = "'oktawatch run' or 'oktawatch evidence update' fetches it"
        return _warning(about, f"{state.problem}: {hint}")
    fetched = f"{state.contents}, fetched on {state.checked_at:%Y-%m-%d}"
    if state.problem:
        return _warning(about, f"{fetched}, still in use. The last update failed: {state.problem}")
    if state.stale:
        return _warning(about, f"{fetched}, is stale: 'oktawatch evidence update' fetches it")
    return _ok(about, fetched)


def _database(app: Application) -> Finding:
    try:
        database = Database(app.database_url.get_secret_value())
    except MissingDatabaseError:
        return _ok("database", "there is no file yet: 'oktawatch run' creates it")
    except StoreError as error:
        return _failed("database", str(error))
    try:
        require_current(database)
        commit_write(database)
    except SchemaError as error:
        upgrades = not database.shared or app.auto_upgrade
        if upgrades and not isinstance(error, NewerSchemaError):
            return _warning("database", "its schema is older: 'oktawatch run' upgrades it")
        return _failed("database", str(error))
    except StoreError as error:
        return _failed("database", str(error))
    finally:
        database.close()
    return _ok("database", "it can be written, and its schema is current")


def _disk(app: Application) -> list[Finding]:
    """Check that the disk of an SQLite file can be written. The disk of a server can't be checked from here."""
    if app.database_file is None:
        return []
    folder = app.database_file.resolve().parent
    try:
        if not folder.is_dir():
            return []
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            for _ in range(_PROBE_SIZE // len(_BLOCK)):
                probe.write(_BLOCK)
            os.fsync(probe.fileno())
    except OSError as error:
        why = error.strerror or type(error).__name__
        return [
            _failed(
                "disk",
                f"a file of 1 MiB can't be written ({folder}): {why}: free some space, or permit this user to write there",
            )
        ]
    return judge_space(shutil.disk_usage(folder).free, str(folder))


def judge_space(free: int, folder: str) -> list[Finding]:
    """Return a warning if less than `LITTLE_SPACE` is free."""
    if free >= LITTLE_SPACE:
        return []
    return [
        _warning(
            "disk",
            f"only {free // 1024**2} MiB are free ({folder}): free some space before the database is full",
        )
    ]


def _rule_to_recommend(app: Application) -> EventRule | None:
    """Return the rule about blocked requests, or None if it is enabled or explicitly disabled."""
    try:
        rulebook = app.rulebook
    except ConfigError:
        return None
    rule = rulebook.every[BlockedAnonymizer.id]
    is_configured = rule in rulebook.rules.rules or app.is_turned_off(rule.id)
    return rule if isinstance(rule, EventRule) and not is_configured else None


async def _blocked_requests(about: str, source: PageSource, rule: EventRule) -> list[Finding]:
    try:
        count = await count_blocked_requests(source, rule, utc_now())
    except SystemLogError as error:
        return [_warning(about, f"blocked requests could not be looked for: {error}")]
    if not count:
        return []
    return [
        _warning(
            about,
            f"Okta itself blocked at least {_count(count, 'request')} from anonymizers in {SEARCH_PERIOD.days} days: "
            f"enable {rule.id} to see them, or set its 'enabled = false'",
        )
    ]


async def _orgs(app: Application, rules: RuleSet, recommendable: EventRule | None) -> list[Finding]:
    """Check each org. With a ``recommendable`` rule, look for events that this rule would match."""
    try:
        tls_context = app.tls_context
    except ConfigError as error:
        return [_failed("certificates", str(error))]
    slots = asyncio.Semaphore(_ORGS_AT_ONCE)
    async with connections(tls_context) as connect:

        async def ask(org: str) -> list[Finding]:
            about = f"org {org}"
            query = polling_query(since=utc_now() - _RECENT, filter=rules.filter, limit=1)
            try:
                access = app.access(org)
                async with slots:
                    client = connect(access, budget=RateBudget(app.rate_limit_share))
                    page = await client.page(query)
                    blocked = await _blocked_requests(about, client, recommendable) if recommendable else []
            except (ConfigError, SystemLogError) as error:
                return [_failed(about, str(error))]
            readable = _ok(about, f"its System Log can be read ({access.url})")
            return [readable, *_clock(about, page), *blocked]

        found = await asyncio.gather(*map(ask, app.org_tags))
    return [finding for findings in found for finding in findings]


async def _notifiers(app: Application, *, send_test: bool) -> list[Finding]:
    try:
        notifiers = app.notifiers
    except ConfigError as error:
        return [_failed("notifiers", str(error))]
    try:
        if send_test:
            return await asyncio.gather(*(_send(_test_message(app), notifier) for notifier in notifiers))
        return await asyncio.gather(*(_reach(app, notifier) for notifier in notifiers))
    finally:
        for notifier in notifiers:
            await channel_calls.close(notifier.channel, notifier=notifier.name)


def _test_message(app: Application) -> Message:
    due = DueNotification(
        id=str(uuid.uuid4()),
        notifier="",
        kind=NotificationKind.TEST,
        severity=None,
        attempts=0,
        created_at=utc_now(),
    )
    return app.composer(RuleSet([])).compose(due)


async def _send(message: Message, notifier: ConfiguredNotifier) -> Finding:
    about = f"notifier {notifier.name}"
    try:
        await channel_calls.send(notifier.channel, message, notifier=notifier.name)
    except DeliveryError as error:
        return _failed(about, f"the test message was not delivered: {error}")
    return _ok(about, "it accepted the test message")


class _Probe(Struct, frozen=True):
    """The host to which `check` connects to test whether a notifier can be reached."""

    host: str
    port: int
    by_proxy: bool
    """Whether the host is the proxy for the notifier's host."""


def _probe(app: Application, notifier: str) -> _Probe | None:
    """Return the host to connect to; None if only a test message can show whether the notifier can be reached."""
    url = app.probe_url(notifier)
    if url is None:
        return None
    proxy = app.way(url).proxy
    parts = urlsplit(proxy or url.get_secret_value())
    port = parts.port or (80 if parts.scheme == "http" else 443)
    return _Probe(parts.hostname or "", port, by_proxy=proxy is not None)


async def _reach(app: Application, notifier: ConfiguredNotifier) -> Finding:
    """Open a connection to the channel's host, or to the proxy for it. For a file, check that it can be written."""
    about = f"notifier {notifier.name}"
    if isinstance(notifier.channel, FileChannel):
        problem = await asyncio.to_thread(notifier.channel.find_problem)
        return _failed(about, problem) if problem else _ok(about, "its file can be written")
    try:
        probe = _probe(app, notifier.name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- the settings of a custom channel may raise anything
        # The text of the error is left out: it could contain a secret.
        return _failed(about, f"the channel's probe_url raises {type(error).__name__}: fix the channel")
    if probe is None:
        return _ok(about, f"its configuration is valid (type {notifier.type}); --send-test sends a message")
    what = "its proxy" if probe.by_proxy else "its host"
    try:
        async with asyncio.timeout(_NOTIFIER_TIMEOUT_S):
            _, writer = await asyncio.open_connection(probe.host, probe.port)
    except TimeoutError:
        return _failed(about, f"{what} does not answer within {_NOTIFIER_TIMEOUT_S} s: check url and network")
    except OSError as error:
        why = error.strerror or type(error).__name__
        return _failed(about, f"{what} can't be reached ({why}): check url and network")
    writer.close()
    return _ok(about, f"{what} can be reached; --send-test sends a message")


def _clock(about: str, page: Page) -> list[Finding]:
    skew = abs(page.date - utc_now()) if page.date else timedelta()
    if skew <= _SKEW:
        return []
    seconds = int(skew.total_seconds())
    return [
        _warning(
            about,
            f"its clock and this machine's differ by {seconds} s: synchronize this machine's clock by NTP",
        )
    ]


def _ok(about: str, message: str) -> Finding:
    return Finding(about=about, verdict=Verdict.OK, message=message)


def _warning(about: str, message: str) -> Finding:
    return Finding(about=about, verdict=Verdict.WARNING, message=message)


def _failed(about: str, message: str) -> Finding:
    return Finding(about=about, verdict=Verdict.FAILED, message=message)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
