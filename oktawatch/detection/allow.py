"""Allow entries: known activity whose matches raise no alert.

An entry applies to a match if all of its conditions hold. A condition holds if one of its values matches. ``until`` is
the last day, in UTC, on which the entry applies. It is compared with the event's time, so that a backfill allows the same
matches as polling did.

An allowed match stays out of its rule's alerts. Its event remains in history and in the windows of later events.

The id of an entry is a hash of its conditions without ``until``. So an entry keeps its id, and its count of matches,
when its place in the file, its reason or its date is changed.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fnmatch import fnmatchcase
from functools import cached_property
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct

from oktawatch.detection.networks import Networks
from oktawatch.model.anonymizer_kind import Anonymizer, AnonymizerKind
from oktawatch.model.match import AllowedMatch, Match, MatchOrigin

GETTERS = MappingProxyType(
    {
        "rules": attrgetter("rule_id"),
        "orgs": attrgetter("org"),
        "actors": attrgetter("origin.actor_alternate_id"),
        "networks": attrgetter("origin.client_ip"),
        "as_numbers": attrgetter("origin.as_number"),
        "zones": attrgetter("origin.zone"),
        "kinds": attrgetter("kind"),
        "operators": attrgetter("operator"),
    }
)
"""The getter of the candidate's value for each condition. Conditions are checked in this order.

Kinds and operators are last, because only they need a classification of the address."""
CONDITIONS = tuple(GETTERS)
_ID_LENGTH = 8  # hexadecimal digits


class Candidate:
    """A match, or the description of a match, to compare with entries. None means unknown."""

    def __init__(
        self,
        *,
        org: str | None,
        tags: Sequence[str] = (),
        rule_id: str | None,
        published: datetime,
        origin: MatchOrigin,
    ) -> None:
        self.org = org
        self.tags = tags
        self.rule_id = rule_id
        self.published = published
        self.origin = origin

    @property
    def kind(self) -> str | None:
        """The kind of the anonymizer."""
        return self._anonymizer.kind if self._anonymizer else None

    @property
    def operator(self) -> str | None:
        """The operator of the anonymizer."""
        return self._anonymizer.operator if self._anonymizer else None

    @cached_property
    def _anonymizer(self) -> Anonymizer | None:
        # Cached: classifying the address takes longer than checking all other conditions.
        return self.origin.anonymizer()


@dataclass(frozen=True, kw_only=True)
class AllowEntry:
    """An allow entry. An empty condition always holds."""

    reason: str
    until: date | None = None
    """The last day on which the entry applies, in UTC."""
    rules: tuple[str, ...] = ()
    """Ids or globs of ids."""
    orgs: tuple[str, ...] = ()
    """Names, tags as ``#tag``, or ``*``."""
    actors: tuple[str, ...] = ()
    """Globs of logins, case-insensitive."""
    networks: tuple[str, ...] = ()
    """Addresses or CIDRs."""
    as_numbers: tuple[int, ...] = ()
    zones: tuple[str, ...] = ()
    """Names of network zones."""
    kinds: tuple[AnonymizerKind, ...] = ()
    operators: tuple[str, ...] = ()
    """Names of operators, case-insensitive."""

    @cached_property
    def id(self) -> str:
        """A short hash of the conditions, regardless of the order and notation of their values."""
        conditions = {name: sorted(set(self._canonical(name)), key=str) for name in self.conditions}
        return sha256(msgspec.json.encode(conditions)).hexdigest()[:_ID_LENGTH]

    @property
    def conditions(self) -> dict[str, tuple[Any, ...]]:
        """The conditions that are set, by name, except ``until``."""
        return {name: getattr(self, name) for name in CONDITIONS if getattr(self, name)}

    def applies(self, candidate: Candidate) -> bool:
        """Return whether all conditions hold."""
        return next(self.unmet(candidate), None) is None

    def unmet(self, candidate: Candidate) -> Iterator[str]:
        """Yield the names of the conditions that don't hold, ``until`` first."""
        if self.has_expired(candidate.published):
            yield "until"
        for name in self.conditions:
            if not self._holds(name, candidate):
                yield name

    def has_expired(self, moment: datetime) -> bool:
        """Return whether ``moment`` is after the day ``until``."""
        return self.until is not None and moment.date() > self.until

    def applies_to_everything(self, rules: Iterable[str], orgs: Mapping[str, Sequence[str]]) -> bool:
        """Return whether the entry would allow practically every match.

        ``rules`` are the ids of the rules in use, ``orgs`` all orgs with their tags. All of IPv4, or all of IPv6, counts
        as every address.
        """
        return not (
            (self.rules and not all(_fits(rule, self.rules) for rule in rules))
            or (self.orgs and not all(_is_org(name, tags, self.orgs) for name, tags in orgs.items()))
            or (self.actors and not any("*" in glob and not glob.strip("*?") for glob in self.actors))
            or (self.networks and not _covers_an_address_family(self.networks))
            or (self.kinds and len(set(self.kinds)) < len(AnonymizerKind))
            or self.as_numbers
            or self.zones
            or self.operators
        )

    def _holds(self, name: str, candidate: Candidate) -> bool:
        value = GETTERS[name](candidate)
        return value is not None and self._accepts(name, value, candidate.tags)

    def _accepts(self, name: str, value: Any, tags: Sequence[str]) -> bool:
        match name:
            case "rules":
                return _fits(value, self.rules)
            case "orgs":
                return _is_org(value, tags, self.orgs)
            case "actors":
                return _fits(value.lower(), self._folded_actors)
            case "operators":
                return value.lower() in self._folded_operators
        return value in (self._ranges if name == "networks" else getattr(self, name))

    @cached_property
    def _folded_actors(self) -> tuple[str, ...]:
        return tuple(glob.lower() for glob in self.actors)

    @cached_property
    def _folded_operators(self) -> frozenset[str]:
        return frozenset(name.lower() for name in self.operators)

    @cached_property
    def _ranges(self) -> Networks:
        return Networks.parse("\n".join(self._canonical("networks")))

    def _canonical(self, name: str) -> Iterable[Any]:
        match name:
            case "actors":
                return self._folded_actors
            case "operators":
                return self._folded_operators
            case "networks":
                return (str(ip_network(network, strict=False)) for network in self.networks)
            case _:
                values: Iterable[Any] = getattr(self, name)
                return values


class Comparison(Struct, frozen=True):
    """An entry, and its conditions that a candidate does not meet."""

    entry: AllowEntry
    unmet: dict[str, Any]
    """The candidate's value of each unmet condition, by name. None means unknown."""

    @property
    def applies(self) -> bool:
        """Whether the entry applies."""
        return not self.unmet


class AllowList:
    """All allow entries. If several entries apply to a match, the first one counts."""

    def __init__(self, entries: Iterable[AllowEntry] = ()) -> None:
        self.entries = tuple(entries)

    def allowed(self, match: Match, org: str, tags: Sequence[str]) -> AllowedMatch | None:
        """Return the match as allowed by the first entry that applies, or None. ``tags`` are those of the org."""
        if not self.entries:
            return None
        origin = match.origin()
        candidate = Candidate(
            org=org, tags=tags, rule_id=match.rule_id, published=match.published, origin=origin
        )
        for entry in self.entries:
            if entry.applies(candidate):
                return AllowedMatch(
                    rule_id=match.rule_id,
                    event_uuid=match.event_uuid,
                    published=match.published,
                    entry=entry.id,
                    reason=entry.reason,
                    actor_alternate_id=origin.actor_alternate_id,
                    client_ip=origin.client_ip,
                )
        return None

    def closest(self, candidate: Candidate) -> Comparison | None:
        """Return the comparison with the fewest unmet conditions, or None without entries.

        Of several, return that of the entry with the most conditions.
        """
        comparisons = [
            Comparison(entry, {name: _value(name, candidate) for name in entry.unmet(candidate)})
            for entry in self.entries
        ]
        return min(
            comparisons,
            key=lambda comparison: (len(comparison.unmet), -len(comparison.entry.conditions)),
            default=None,
        )

    @property
    def classifies(self) -> bool:
        """Whether any entry depends on the kind or operator of an anonymizer."""
        return any(entry.kinds or entry.operators for entry in self.entries)


NO_ENTRIES = AllowList()


def _value(name: str, candidate: Candidate) -> Any:
    return candidate.published.date() if name == "until" else GETTERS[name](candidate)


def _fits(value: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(value, glob) for glob in globs)


def _is_org(name: str, tags: Sequence[str], wanted: Iterable[str]) -> bool:
    return any(org[1:] in tags if org.startswith("#") else org in ("*", name) for org in wanted)


def _covers_an_address_family(networks: Collection[str]) -> bool:
    """Return whether networks cover all of IPv4 or all of IPv6."""
    parsed = [ip_network(network, strict=False) for network in networks]
    v4 = collapse_addresses(network for network in parsed if isinstance(network, IPv4Network))
    v6 = collapse_addresses(network for network in parsed if isinstance(network, IPv6Network))
    return any(network.prefixlen == 0 for network in v4) or any(network.prefixlen == 0 for network in v6)
