"""Measure how many alerts an org gets, and which attacks they find: `python -m benchmarks.noise`.

The sign-ins of a simulated org (`benchmarks.noise_org`) go page by page through the engine into an SQLite file, with several
configurations of the rule. The result depends only on the seed. `--write` puts it into docs/detection.md. `--seeds 10`
measures, for each of ten seeds, the share of the published rule's alerts that remain with familiarity.
"""

import argparse
import collections
import dataclasses
import datetime as dt
import logging
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
import structlog

from benchmarks import noise_org
from oktawatch.detection.allow import NO_ENTRIES, AllowEntry, AllowList
from oktawatch.detection.evidence import Evidence, EvidenceSource, NetworksSource
from oktawatch.detection.evidence_severity import SeverityTable
from oktawatch.detection.networks import Networks
from oktawatch.detection.registry import RuleSet, RuleSettings, configured_rules
from oktawatch.detection.rules.anonymizing_vpn_login import AnonymizingVpnLogin
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.engine.triage import decide_and_notify
from oktawatch.model.anonymizer_kind import AnonymizerKind
from oktawatch.model.event import Event
from oktawatch.model.severity import Severity
from oktawatch.model.severity_adjustment import SeverityAdjustment
from oktawatch.model.timestamps import to_text
from oktawatch.store.database import Database
from oktawatch.store.orgs import register_orgs
from oktawatch.store.schema import upgrade
from oktawatch.store.triage import Action, Decision
from oktawatch.systemlog.page import Page

DOCUMENT = pathlib.Path(__file__).resolve().parent.parent / "docs" / "detection.md"
BEGIN, END = "<!-- python -m benchmarks.noise --write -->\n", "<!-- the end of the table -->\n"
_ORG = "acme"
_PAGE = 1_000
DAY = dt.timedelta(days=1)
_CLOSING_HOUR = dt.timedelta(hours=17)
_SATURDAY = 5
_WITHOUT_FAMILIARITY = MappingProxyType(
    {SeverityAdjustment.FAMILIAR: 0, SeverityAdjustment.CLOSED_AS_BENIGN: 0, SeverityAdjustment.REPEATED: 0}
)
_AS_PUBLISHED: Mapping[str, Any] = MappingProxyType(
    {"signals": ["is_proxy"], "severity_from_evidence": False, "raise_on_success": False}
)
SOURCES: tuple[EvidenceSource, ...] = (
    NetworksSource(
        "apple",
        Networks.parse(noise_org.RELAYS[1].prefix),
        AnonymizerKind.RELAY,
        "iCloud Private Relay",
    ),
    NetworksSource("tor exits", Networks.parse(noise_org.UNNAMED_TOR.prefix), AnonymizerKind.TOR),
)
"""Apple's and the Tor project's lists, which the documentation recommends."""


@dataclasses.dataclass(frozen=True, slots=True)
class Mode:
    """A configuration of the rule."""

    name: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    levels: Mapping[SeverityAdjustment, int] = dataclasses.field(default_factory=dict)
    sources: tuple[EvidenceSource, ...] = ()
    allow: AllowList = NO_ENTRIES
    backfilled: bool = False
    """Whether a backfill reads the days before the measured ones first."""
    triage: bool = False
    """Whether people close the alerts of each day: as benign, or as a true positive if an attacker got in."""
    attempts_are_true_positives: bool = False
    """Whether people also close attempts as true positives. Otherwise, attempts get no verdict."""

    def rules(self) -> RuleSet:
        """Build the rule."""
        evidence = Evidence({}, SeverityTable(levels=self.levels))
        evidence.sources = self.sources
        settings = {AnonymizingVpnLogin.id: RuleSettings(options=self.options)}
        rules = configured_rules(settings, read_file=str, classes=[AnonymizingVpnLogin], evidence=evidence)
        return RuleSet(rules.values(), evidence=evidence)


PUBLISHED = Mode("published rule", _AS_PUBLISHED)
FAMILIAR = Mode("with familiarity", sources=SOURCES, backfilled=True)
TRIAGED = Mode("with familiarity, alerts closed", sources=SOURCES, backfilled=True, triage=True)
ENTRIES = AllowList(
    (
        AllowEntry(reason="our web gateway", operators=("ZSCALER_PROXY",)),
        AllowEntry(reason="phones", kinds=(AnonymizerKind.RELAY,)),
    )
)
MODES = (
    PUBLISHED,
    Mode("all marks", {"severity_from_evidence": False, "raise_on_success": False}),
    Mode("with evidence", levels=_WITHOUT_FAMILIARITY, sources=SOURCES),
    Mode("with familiarity, no backfill", sources=SOURCES),
    FAMILIAR,
    TRIAGED,
    Mode(
        "with familiarity, attempts as true positives",
        sources=SOURCES,
        backfilled=True,
        triage=True,
        attempts_are_true_positives=True,
    ),
    Mode("with allow entries, alerts closed", sources=SOURCES, backfilled=True, triage=True, allow=ENTRIES),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """The alerts of one mode."""

    mode: Mode
    noise: Mapping[Severity, int]
    """Alerts without an event of an attack, by severity."""
    found: frozenset[str]
    """The names of the attacks that are in an alert of MEDIUM or above."""

    @property
    def medium_and_above(self) -> int:
        """The number of alerts of MEDIUM or above in the noise."""
        return sum(count for severity, count in self.noise.items() if severity >= Severity.MEDIUM)


def measure(mode: Mode, org: noise_org.Org) -> Result:
    """Read all events of an org with the configuration of a mode."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/noise.db", create=True)
        try:
            upgrade(database)
            register_orgs(database, [_ORG], now=noise_org.START)
            watch = Watch(org=_ORG, rules=mode.rules(), allow=mode.allow)
            for day, bodies in org:
                if day < org.begin and not mode.backfilled:
                    continue
                closing = (day + _CLOSING_HOUR).isoformat()
                before = [body for body in bodies if body["published"] < closing]
                _read(database, watch, before, day)
                if mode.triage and day >= org.begin and day.weekday() < _SATURDAY:
                    _close_all(database, mode, day + _CLOSING_HOUR, since=org.begin)
                _read(database, watch, bodies[len(before) :], day)
            return _result(database, mode, org)
        finally:
            database.close()


def _read(database: Database, watch: Watch, bodies: Sequence[Mapping[str, Any]], day: dt.datetime) -> None:
    for start in range(0, len(bodies), _PAGE):
        events = [Event.from_json(msgspec.json.encode(body)) for body in bodies[start : start + _PAGE]]
        page = Page(
            query="", next=None, link_error=None, events=events, rejected=[], count=len(events),
            oldest=None, newest=None, date=None, caught_up=False,
        )  # fmt: skip
        commit_page(database, watch, page, notify=False, advance=lambda *_: None, now=day)


def _close_all(database: Database, mode: Mode, now: dt.datetime, *, since: dt.datetime) -> None:
    """Close the open alerts of MEDIUM or above, like analysts who know which alerts are attacks."""
    verdicts: dict[str | None, list[int]] = {}
    for alert in _alerts(database, since=since):
        if alert.is_open and alert.severity >= Severity.MEDIUM:
            if not alert.attacks:
                disposition = "benign"
            elif alert.got_in or mode.attempts_are_true_positives:
                disposition = "true_positive"
            else:
                disposition = None
            verdicts.setdefault(disposition, []).append(alert.id)
    for disposition, ids in verdicts.items():
        decision = Decision(action=Action.CLOSED, by="analyst", disposition=disposition)
        decide_and_notify(database, ids, decision, routes=(), tags={}, now=now)


@dataclasses.dataclass(frozen=True, slots=True)
class _Alert:
    id: int
    severity: Severity
    is_open: bool
    got_in: bool
    attacks: frozenset[str]
    """The names of the attacks whose events are in it."""


def _alerts(database: Database, *, since: dt.datetime) -> list[_Alert]:
    """Return the alerts since a time."""
    query = """
        SELECT alerts.id, alerts.severity, status = 'open', successes > 0, json_group_array(event_uuid)
        FROM alerts JOIN matches ON matches.alert_id = alerts.id WHERE anchor >= ? GROUP BY alerts.id
    """
    with database.read() as connection:
        return [
            _Alert(alert_id, Severity[severity], bool(is_open), bool(got_in), _attacks(uuids))
            for alert_id, severity, is_open, got_in, uuids in connection.exec_driver_sql(
                query, (to_text(since),)
            )
        ]


def _attacks(uuids: str) -> frozenset[str]:
    return frozenset(
        uuid.rpartition("-")[0] for uuid in msgspec.json.decode(uuids) if uuid.startswith("attack-")
    )


def _result(database: Database, mode: Mode, org: noise_org.Org) -> Result:
    alerts = _alerts(database, since=org.begin)
    noise = collections.Counter(alert.severity for alert in alerts if not alert.attacks)
    found = [alert.attacks for alert in alerts if alert.severity >= Severity.MEDIUM]
    return Result(mode, noise, frozenset().union(*found))


def table(results: Sequence[Result], org: noise_org.Org) -> str:
    """Return the results as a Markdown table: alerts per 1,000 people and day, and attacks found."""
    levels = list(Severity)
    kinds = noise_org.ATTACK_KINDS
    heading = [
        "",
        *(level.name for level in levels),
        "MEDIUM and above",
        *(kind.replace("_", " ") for kind in kinds),
    ]
    rows = [heading, ["---", *["---:"] * (len(heading) - 1)]]
    scale = 1_000 / len(org.people) / org.days
    for result in results:
        counts = [*(result.noise.get(level, 0) for level in levels), result.medium_and_above]
        rows.append(
            [
                result.mode.name,
                *(f"{count * scale:.2f}" for count in counts),
                *(_share(result.found, org, kind) for kind in kinds),
            ]
        )
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _share(found: Iterable[str], org: noise_org.Org, kind: str) -> str:
    of_kind = {attack.name for attack in org.attacks if attack.kind == kind}
    return f"{len(of_kind & set(found))}/{len(of_kind)}"


def measure_seeds(people: int, days: int, *, lead: int, seeds: int) -> str:
    """Return a Markdown table with the share of the published rule's alerts that remain with familiarity, by seed."""
    rows = [
        "| seed | published rule | with familiarity | share | missed attacks |\n| ---: | ---: | ---: | ---: | ---: |\n"
    ]
    shares = []
    for seed in range(1, seeds + 1):
        print(f"measuring: seed {seed}", file=sys.stderr)
        published, familiar = (
            measure(mode, noise_org.Org(people, days, lead=lead, seed=seed)) for mode in (PUBLISHED, FAMILIAR)
        )
        counts = published.medium_and_above, familiar.medium_and_above
        shares.append(counts[1] / counts[0])
        missed = len(published.found - familiar.found)
        rows.append(f"| {seed} | {counts[0]} | {counts[1]} | {shares[-1]:.1%} | {missed} |\n")
    summary = {"min": min(shares), "median": statistics.median(shares), "max": max(shares)}
    rows += (f"| {name} | | | {share:.1%} | |\n" for name, share in summary.items())
    return "".join(rows)


def main() -> None:
    """Measure all modes, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=2_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument(
        "--lead", type=int, default=30, help="days before the measured ones, which a backfill reads"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="replace the table in docs/detection.md")
    parser.add_argument(
        "--seeds", type=int, help="compare familiarity with the published rule for the seeds 1 to SEEDS"
    )
    given = parser.parse_args()

    def org() -> noise_org.Org:
        return noise_org.Org(given.people, given.days, lead=given.lead, seed=given.seed)

    # Otherwise, each page with allowed matches would be logged.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if given.seeds:
        print(measure_seeds(given.people, given.days, lead=given.lead, seeds=given.seeds), end="")
        return
    results = []
    for mode in MODES:
        print(f"measuring: {mode.name}", file=sys.stderr)
        results.append(measure(mode, org()))
    text = table(results, org())
    print(text, end="")
    if given.write:
        before, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}{text}{END}{rest.partition(END)[2]}", "utf-8")


if __name__ == "__main__":
    main()
