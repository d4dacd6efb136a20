"""What `oktawatch check` looks at: everything that can be looked at without changing anything.

Each org is asked for one event, with the filter that polling uses, so that a token, a permission and a
rule's filter are seen to work and not only to be there. The database takes a write that
changes nothing, and the disk of an SQLite file takes a file that is removed at once; a database that does
not exist yet is left for `oktawatch run` to make.
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
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from oktawatch.config import ConfigError, NotifierSettings, OrgSettings, Settings
from oktawatch.config.secrets import TWINS, secret_keys
from oktawatch.detection.registry import RuleSet
from oktawatch.engine.assembly import (
    make_access,
    make_channels,
    make_composer,
    make_tls_context,
    read_rulebook,
)
from oktawatch.model.notification import DueNotification, NotificationKind
from oktawatch.model.timestamps import utc_now
from oktawatch.notify.channel import Channel, DeliveryError
from oktawatch.notify.message import Message
from oktawatch.store.database import Database
from oktawatch.store.errors import MissingDatabaseError, NewerSchemaError, SchemaError, StoreError
from oktawatch.store.schema import commit_write, require_current
from oktawatch.systemlog.errors import SystemLogError
from oktawatch.systemlog.page import Page
from oktawatch.systemlog.queries import polling_query

LARGE_SHARE = 0.6
"""Okta mails an org's admins when so much of a rate limit is used, by default."""
LITTLE_SPACE = 500 * 1024**2
"""Bytes: with less, a day of a busy org, or a schema upgrade, may fill the disk."""
_BLOCK = b"\0" * 65_536
_PROBE_SIZE = 1024**2  # bytes; more than SQLite may find in files that it has already
_RECENT = timedelta(minutes=5)
_SKEW = timedelta(seconds=60)
_AT_ONCE = 16  # orgs
_PATIENCE = 30  # seconds for a notifier
_PORTS = {"http": 80, "https": 443}


class Verdict(StrEnum):
    """How a finding counts."""

    OK = "ok"
    WARNING = "warning"
    """Works, and may not be what was meant."""
    FAILED = "failed"


class Finding(Struct, frozen=True, kw_only=True):
    """What was found about one thing."""

    about: str
    """For example ``org acme``."""
    verdict: Verdict
    message: str
    """One line for people."""


async def check(settings: Settings, *, send_test: bool = False) -> list[Finding]:
    """Look at everything; the configuration itself has been read by now, or there were no settings.

    ``send_test`` sends each notifier a message that says that it is a test, past the outbox.
    """
    findings = [
        _ok("configuration", f"{settings.source or 'the environment'}: {_count(len(settings.orgs), 'org')}")
    ]
    findings += [
        _warning("configuration", f"{place} has no effect yet") for place in settings.without_effect()
    ]
    if settings.poll.rate_limit_share > LARGE_SHARE:
        findings.append(
            _warning(
                "configuration",
                f"poll.rate_limit_share is above {LARGE_SHARE}: Okta mails the org's admins when that much is used",
            )
        )
    findings += [
        _warning("secrets", f"{file} can be read by every user of this machine: chmod o-r {file}")
        for file in dict.fromkeys(_secret_files(settings))
        if file.stat().st_mode & stat.S_IROTH
    ]
    rules: RuleSet | None = None
    try:
        rulebook = read_rulebook(settings)
    except ConfigError as error:
        findings.append(_failed("rules", str(error)))
    else:
        rules = rulebook.rules
        findings.append(_rules(rules))
        findings += [_failed("rules", str(problem)) for problem in rulebook.found.problems]
    findings.append(await asyncio.to_thread(_database, settings))
    findings += await asyncio.to_thread(_disk, settings)
    findings += await _orgs(settings, rules or RuleSet([]))
    return [*findings, *await _notifiers(settings, send_test=send_test)]


def _secret_files(settings: Settings) -> Iterator[Path]:
    for section in TWINS:
        tables = getattr(settings, section)
        for table in tables if isinstance(tables, tuple) else (tables,):
            named = (getattr(table, f"{secret}_file") for secret in secret_keys(type(table)))
            yield from (file for file in named if file is not None)


def _rules(rules: RuleSet) -> Finding:
    names = ", ".join(rule.id for rule in rules.rules)
    return (
        _ok("rules", f"on: {names}") if names else _warning("rules", "none is on: nothing will be detected")
    )


def _database(settings: Settings) -> Finding:
    try:
        database = Database(settings.database.url.get_secret_value())
    except MissingDatabaseError:
        return _ok("database", "there is no file yet: 'oktawatch run' makes it")
    except StoreError as error:
        return _failed("database", str(error))
    try:
        require_current(database)
        commit_write(database)
    except SchemaError as error:
        mends_itself = not database.shared or settings.database.auto_upgrade
        if mends_itself and not isinstance(error, NewerSchemaError):
            return _warning("database", "its schema is older: 'oktawatch run' brings it up")
        return _failed("database", str(error))
    except StoreError as error:
        return _failed("database", str(error))
    finally:
        database.close()
    return _ok("database", "can be written, with the schema that this program needs")


def _disk(settings: Settings) -> list[Finding]:
    """Check that the disk of an SQLite file takes more. A server's disk can't be seen from here."""
    url = settings.database.url.get_secret_value()
    file = url.removeprefix("sqlite:///").partition("?")[0]
    folder = Path(file).resolve().parent
    if file == url or not folder.is_dir():
        return []
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            for _ in range(_PROBE_SIZE // len(_BLOCK)):
                probe.write(_BLOCK)
            os.fsync(probe.fileno())
    except OSError as error:
        why = error.strerror or type(error).__name__
        return [
            _failed(
                "disk",
                f"a file of 1 MiB can't be written ({folder}): {why}: make room, or let this user write there",
            )
        ]
    return judge_space(shutil.disk_usage(folder).free, str(folder))


def judge_space(free: int, folder: str) -> list[Finding]:
    """Return a warning when few bytes are free: a day of a busy org may fill the disk."""
    if free >= LITTLE_SPACE:
        return []
    return [
        _warning(
            "disk", f"only {free // 1024**2} MiB are free ({folder}): make room before the database is full"
        )
    ]


async def _orgs(settings: Settings, rules: RuleSet) -> list[Finding]:
    # Half a second and 65 MB, which a broken configuration doesn't pay.
    from oktawatch.systemlog.client import LogClient  # noqa: PLC0415
    from oktawatch.systemlog.transport import open_session  # noqa: PLC0415

    try:
        trust = make_tls_context(settings)
    except ConfigError as error:
        return [_failed("certificates", str(error))]
    turn = asyncio.Semaphore(_AT_ONCE)
    async with open_session(trust) as session:

        async def ask(org: OrgSettings) -> list[Finding]:
            about = f"org {org.name}"
            try:
                client = LogClient(make_access(settings, org), session=session)
            except ConfigError as error:
                return [_failed(about, str(error))]
            query = polling_query(since=utc_now() - _RECENT, filter=rules.filter, limit=1)
            async with turn:
                try:
                    page = await client.page(query)
                except SystemLogError as error:
                    return [_failed(about, str(error))]
            return [_ok(about, f"its System Log can be read ({org.url})"), *_clock(about, page)]

        found = await asyncio.gather(*(ask(org) for org in settings.orgs))
    return [finding for findings in found for finding in findings]


async def _notifiers(settings: Settings, *, send_test: bool) -> list[Finding]:
    try:
        channels = make_channels(settings)
    except ConfigError as error:
        return [_failed("notifiers", str(error))]
    if send_test:
        tries = [
            _send(_test_message(settings), *pair) for pair in zip(settings.notifiers, channels, strict=True)
        ]
    else:
        tries = [_reach(settings, notifier) for notifier in settings.notifiers]
    try:
        return await asyncio.gather(*tries)
    finally:
        for channel in channels:
            await channel.close()


def _test_message(settings: Settings) -> Message:
    due = DueNotification(
        id=str(uuid.uuid4()),
        notifier="",
        kind=NotificationKind.TEST,
        severity=None,
        attempts=0,
        created_at=utc_now(),
    )
    return make_composer(settings, RuleSet([])).compose(due)


async def _send(message: Message, notifier: NotifierSettings, channel: Channel) -> Finding:
    about = f"notifier {notifier.name}"
    try:
        async with asyncio.timeout(_PATIENCE):
            await channel.send(message)
    except DeliveryError as error:
        return _failed(about, f"the test message was not delivered: {error}")
    except TimeoutError:
        return _failed(about, f"the test message was not delivered within {_PATIENCE} s")
    return _ok(about, "it took the test message")


async def _reach(settings: Settings, notifier: NotifierSettings) -> Finding:
    """Open a connection to the host that the channel names, or to the proxy before it; the rest takes a message."""
    about = f"notifier {notifier.name}"
    probe_url = notifier.probe_url()
    if probe_url is None:
        return _ok(about, f"configured as it must be (type {notifier.type}), and --send-test tries it")
    proxy = settings.proxy_for(probe_url.get_secret_value())
    url = urlsplit((proxy or probe_url).get_secret_value())
    what = "its host" if proxy is None else "the proxy before it"
    try:
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection(url.hostname, url.port or _PORTS[url.scheme])
    except TimeoutError:
        return _failed(about, f"{what} does not answer within {_PATIENCE} s: check url and network")
    except OSError as error:
        why = error.strerror or type(error).__name__
        return _failed(about, f"{what} can't be reached ({why}): check url and network")
    writer.close()
    return _ok(about, f"{what} can be reached, and --send-test tries the rest")


def _clock(about: str, page: Page) -> list[Finding]:
    skew = abs(page.date - utc_now()) if page.date else timedelta()
    if skew <= _SKEW:
        return []
    seconds = int(skew.total_seconds())
    return [_warning(about, f"its clock and this machine's differ by {seconds} s: set this one by NTP")]


def _ok(about: str, message: str) -> Finding:
    return Finding(about=about, verdict=Verdict.OK, message=message)


def _warning(about: str, message: str) -> Finding:
    return Finding(about=about, verdict=Verdict.WARNING, message=message)


def _failed(about: str, message: str) -> Finding:
    return Finding(about=about, verdict=Verdict.FAILED, message=message)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
