"""From settings to working parts: what the daemon, `run --once`, `backfill` and `rules` are made of.

Settings know what an operator may write; only the rooms know whether it makes sense to them. What
doesn't is a ConfigError here, with the file and key that it came from.

What reads the database is imported where it is made: listing rules needs none of it.
"""

import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from msgspec import Struct
from pydantic import SecretStr

from oktawatch.config import ConfigError, OrgSettings, Settings
from oktawatch.config.secrets import MANY_LINES, read_secret
from oktawatch.detection.options import ReadFile, RuleOptionError
from oktawatch.detection.registry import BUILT_IN, RuleSet, RuleSettings, configured_rules, rules_on
from oktawatch.detection.rule import Rule
from oktawatch.engine.loading import LoadedRules, load_rules
from oktawatch.logs import hide
from oktawatch.notify.channel import DIRECT, Channel, Way, make_channel
from oktawatch.notify.composer import Composer, RuleText
from oktawatch.notify.escalation import Escalation
from oktawatch.notify.heartbeat import beat
from oktawatch.notify.routing import Route
from oktawatch.systemlog.access import OrgAccess, ServiceApp
from oktawatch.systemlog.keys import read_private_key
from oktawatch.systemlog.tls import load_ca_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from oktawatch.engine.database import DatabaseExecutor
    from oktawatch.engine.deliver import Notifier
    from oktawatch.engine.orphaned_notifications import OrphanedNotifications
    from oktawatch.engine.pipeline import Watch
    from oktawatch.engine.pruning import Pruner
    from oktawatch.engine.rule_watchdog import RuleWatchdog
    from oktawatch.engine.silence import SilenceWatch


_log: Any = structlog.get_logger(__name__)

_CHECK_WITHIN_S = 2.0
"""How long a start looks for damage in the database's file: some gigabytes, if they are in memory."""


class Rulebook(Struct, frozen=True):
    """Every rule that there is, and those that are on."""

    found: LoadedRules
    """Built-in rules and the operator's own, with what of the latter can't be used."""
    rules: RuleSet
    every: dict[str, Rule]
    """By their ids, on or off, with the numbers that the operator gave them."""


def make_rules(settings: Settings, *, strict: bool = False) -> RuleSet:
    """Make the rules that are on, with the numbers that the operator gave them.

    Raises ConfigError for a rule or an option that does not exist, or a value that makes no sense to it.
    A rule of the operator's own that can't be used is logged and left out; ``strict`` raises for it too.
    """
    rulebook = read_rulebook(settings)
    for problem in rulebook.found.problems:
        if strict:
            raise ConfigError("unusable rule", problem.where, problem.problem)
        _log.error("rule_unusable", problem=str(problem))
    return rulebook.rules


def make_rule(settings: Settings, rule_id: str) -> RuleSet:
    """Make one rule, whether it is on or not, with the numbers that the operator gave it.

    Raises ConfigError as `make_rules` does, also when there is no such rule.
    """
    rulebook = read_rulebook(settings)
    if rule_id not in rulebook.every:
        unusable = "; ".join(str(problem) for problem in rulebook.found.problems)
        expected = f"expected one of {', '.join(rulebook.found.rules)}"
        raise ConfigError("no such rule", rule_id, f"{expected}; {unusable}" if unusable else expected)
    return RuleSet([rulebook.every[rule_id]])


def every_rule(settings: Settings) -> tuple[list[Rule], frozenset[str]]:
    """Make every rule, on or off, with the numbers that the operator gave it; give the ids of those on.

    Raises ConfigError as `make_rules` does.
    """
    rulebook = read_rulebook(settings)
    on = frozenset(rule.id for rule in rulebook.rules.rules)
    return list(rulebook.every.values()), on


def read_rulebook(settings: Settings) -> Rulebook:
    """Read every rule, and make those that are on. Raises ConfigError as `make_rules` does.

    An operator's rule that can't be used is a problem and no error. While there is one, the
    configuration may name rules that don't exist: they may be those.
    """
    found = _load(settings)
    said = {name: RuleSettings(rule.enabled, rule.options) for name, rule in settings.rules.items()}
    enable = settings.detection.enable
    if found.problems:
        said = {name: rule for name, rule in said.items() if name in found.rules}
        enable = tuple(glob for glob in enable if any(fnmatchcase(name, glob) for name in found.rules))
    try:
        every = configured_rules(said, read_file=_reader(settings), classes=found.rules.values())
        on = rules_on(every, said, enable)
    except RuleOptionError as error:
        problem = error
    else:
        if not found.problems:
            _check_routes(settings, found.rules)
        return Rulebook(found, RuleSet(on, complete=not found.problems), every)
    if problem.key is not None:
        place: tuple[str, ...] = ("rules", problem.rule_id, problem.key)
        raise settings.error("wrong value", *place, expected=str(problem))
    place = ("rules", problem.rule_id) if problem.rule_id in settings.rules else ("detection", "enable")
    raise settings.error("unknown rule", *place, expected=str(problem))


def _check_routes(settings: Settings, known: Iterable[str]) -> None:
    # Passed over in silence, a slip of the pen would keep alerts from whom they are for.
    names = list(known)
    for index, notifier in enumerate(settings.notifiers):
        if not all(any(fnmatchcase(name, glob) for name in names) for glob in notifier.rules):
            expected = f"expected ids or globs of rules that exist; there are: {', '.join(names)}"
            raise settings.error("unknown rule", "notifiers", index, "rules", expected=expected)


def _reader(settings: Settings) -> ReadFile:
    return lambda name: (settings.folder / name).read_text("utf-8")


def _load(settings: Settings) -> LoadedRules:
    try:
        return load_rules(BUILT_IN, settings.detection.rules_dir)
    except OSError as error:
        reason = error.strerror or "it fails"
    expected = f"expected a folder that can be read: {reason}"
    raise settings.error("no rules", "detection", "rules_dir", expected=expected)


def make_access(settings: Settings, org: OrgSettings, *, renewed: bool = False) -> OrgAccess:
    """Make what it takes to read an org; ``renewed`` looks whether its secret's file holds another by now.

    Raises ConfigError when there are no credentials that a request can carry.
    """
    key = "token" if org.private_key is None else "private_key"
    given, file = (org.token, org.token_file) if key == "token" else (org.private_key, org.private_key_file)
    try:
        secret = given
        if renewed and file is not None:
            secret = read_secret(file, many_lines=key in MANY_LINES)
        text = "" if secret is None else secret.get_secret_value()
        app = None if key == "token" else _service_app(org, text)
        proxy = settings.proxy_for(org.url)
        access = OrgAccess(
            org.name,
            org.url,
            text if app is None else "",
            app,
            proxy=None if proxy is None else proxy.get_secret_value(),
        )
    except ValueError as error:
        problem = str(error)
    else:
        for one in access.secrets():
            hide(one)
        return access
    raise settings.error("no credentials", "orgs", settings.orgs.index(org), key, expected=problem)


def make_tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Say whose certificates are good; None for the system's authorities alone. Raises ConfigError."""
    if settings.poll.ca_file is None:
        return None
    try:
        return load_ca_file(settings.poll.ca_file)
    except ValueError as error:
        problem = str(error)
    raise settings.error("no certificates", "poll", "ca_file", expected=problem)


def _service_app(org: OrgSettings, private_key: str) -> ServiceApp:
    key, kid = read_private_key(private_key)
    return ServiceApp(
        client_id=org.client_id, private_key=key, kid=org.kid or kid, dpop=org.dpop, scopes=org.scopes
    )


def open_database(settings: Settings, *, create: bool = True) -> "DatabaseExecutor":
    """Open the database, without touching it yet; to be closed by who opened it.

    Raises ConfigError when there is none that this program can use.
    """
    from oktawatch.engine.database import DatabaseExecutor  # noqa: PLC0415 -- the module's docstring says why
    from oktawatch.store.errors import StoreError  # noqa: PLC0415 -- likewise

    try:
        return DatabaseExecutor(settings.database.url.get_secret_value(), create=create)
    except StoreError as error:
        problem = str(error)
    raise settings.error("no usable database", "database", "url", expected=problem)


async def prepare_database(settings: Settings, database: "DatabaseExecutor") -> None:
    """Check the database's file, bring the schema up unless others use it too, and insert each org's row.

    Raises ConfigError when the schema is not the one this program works with, else StoreError.
    """
    from oktawatch.store.database import Database  # noqa: PLC0415 -- as above
    from oktawatch.store.errors import SchemaError  # noqa: PLC0415 -- as above
    from oktawatch.store.orgs import register_orgs  # noqa: PLC0415 -- as above
    from oktawatch.store.schema import require_current, upgrade  # noqa: PLC0415 -- as above

    by_itself = settings.database.auto_upgrade or not database.database.shared
    try:
        await database.run(Database.require_undamaged, within_s=_CHECK_WITHIN_S)
        await database.run(upgrade if by_itself else require_current)
        await database.read_clock()
        await database.run(register_orgs, [org.name for org in settings.orgs], now=database.now())
    except SchemaError as error:
        problem = str(error)
    else:
        return
    raise settings.error("wrong schema", "database", "url", expected=problem)


def make_watch(
    settings: Settings, org: OrgSettings, rules: RuleSet, watchdog: "RuleWatchdog | None" = None
) -> "Watch":
    """Return how an org is watched. ``watchdog``: of users' rules."""
    from oktawatch.engine.pipeline import Watch  # noqa: PLC0415 -- as above

    return Watch(org=org.name, tags=org.tags, rules=rules, routes=make_routes(settings), watchdog=watchdog)


def make_routes(settings: Settings) -> tuple[Route, ...]:
    """Say which notifier hears of what."""
    return tuple(
        Route(
            notifier=notifier.name,
            min_severity=notifier.min_severity,
            rules=notifier.rules,
            orgs=notifier.orgs,
        )
        for notifier in settings.notifiers
    )


def make_silence_watch(settings: Settings, database: "DatabaseExecutor") -> "SilenceWatch":
    """Make what notices that an org is not polled any more."""
    from oktawatch.engine.silence import SilenceWatch  # noqa: PLC0415 -- as above

    return SilenceWatch(
        {org.name: org.tags for org in settings.orgs},
        make_routes(settings),
        database,
        after=settings.silence.after,
        notifiers=_escalations(settings),
    )


def _escalations(settings: Settings) -> dict[str, Escalation]:
    """Return who hears of each notifier's trouble: all the others, whatever else they want to hear of."""
    names = [notifier.name for notifier in settings.notifiers]
    return {
        name: Escalation(names=tuple(other for other in names if other != name), after=settings.silence.after)
        for name in names
    }


def make_pruner(settings: Settings, rules: RuleSet, database: "DatabaseExecutor") -> "Pruner":
    """Make what deletes what has had its time."""
    from oktawatch.engine.pruning import Ages, Pruner  # noqa: PLC0415 -- as above

    ages = Ages(
        events=settings.retention.events,
        alerts=settings.retention.alerts,
        sweep_window=settings.poll.sweep_window,
    )
    return Pruner(database, [org.name for org in settings.orgs], rules, ages)


def make_heartbeat(settings: Settings) -> Callable[[], Awaitable[None]] | None:
    """Make the request that follows a good round; None where there is none to make."""
    url = settings.silence.heartbeat_url
    return partial(beat, url.get_secret_value(), _way(settings, url)) if url is not None else None


@asynccontextmanager
async def open_notifiers(
    settings: Settings, rules: RuleSet, database: "DatabaseExecutor", channels: Sequence[Channel]
) -> "AsyncIterator[list[Notifier]]":
    """Make everything that delivers; the channels are closed at the end."""
    from oktawatch.engine.deliver import Notifier  # noqa: PLC0415 -- as above

    composer = make_composer(settings, rules)
    escalations = _escalations(settings)
    async with AsyncExitStack() as stack:
        for channel in channels:
            stack.push_async_callback(channel.close)
        yield [
            Notifier(
                notifier.name,
                channel,
                composer,
                database,
                max_age=notifier.max_age,
                per_minute=notifier.max_per_minute,
                escalation=escalations[notifier.name],
            )
            for notifier, channel in zip(settings.notifiers, channels, strict=True)
        ]


def make_orphaned_notifications(settings: Settings, database: "DatabaseExecutor") -> "OrphanedNotifications":
    """Make what gives up what waits for notifiers that are not configured."""
    from oktawatch.engine.orphaned_notifications import OrphanedNotifications  # noqa: PLC0415 -- as above

    return OrphanedNotifications([notifier.name for notifier in settings.notifiers], database)


def make_composer(settings: Settings, rules: RuleSet) -> Composer:
    """Make what writes messages."""
    return Composer(
        orgs={org.name: org.url for org in settings.orgs},
        rules={rule.id: RuleText(rule.name, rule.runbook) for rule in rules.rules},
    )


def make_channels(settings: Settings) -> list[Channel]:
    """Make the channel of each notifier, in their order; nothing is connected yet.

    Raises ConfigError for one that can't be made as it is configured.
    """
    return [_channel(settings, index) for index in range(len(settings.notifiers))]


def _way(settings: Settings, url: SecretStr | None) -> Way:
    """Select the proxy and the trusted authorities for a URL; Apprise's own schemes select their proxy themselves."""
    if url is None:
        return DIRECT
    if not url.get_secret_value().startswith(("http:", "https:")):
        return Way(trust=make_tls_context(settings))
    proxy = settings.proxy_for(url.get_secret_value())
    return Way(
        proxy=proxy.get_secret_value() if proxy is not None else None, trust=make_tls_context(settings)
    )


def _channel(settings: Settings, index: int) -> Channel:
    try:
        return make_channel(settings.notifiers[index], _way(settings, settings.notifiers[index].url))
    except ValueError as error:
        problem = str(error)
    raise settings.error("wrong value", "notifiers", index, "url", expected=problem)
