"""All rules, built-in and custom, with their configured options."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from msgspec import Struct

from oktawatch.detection.evidence import Evidence
from oktawatch.detection.registry import BUILT_IN, RuleSet, RuleSettings, configured_rules, enabled_rules
from oktawatch.detection.rule import Rule
from oktawatch.engine.loading import LoadedRules, load_rules


class Rulebook(Struct, frozen=True):
    """All rules, and the set of enabled rules."""

    found: LoadedRules
    """The classes of all rules, and the problems of custom rules that can't be used."""
    rules: RuleSet
    """The enabled rules."""
    every: dict[str, Rule]
    """All rules by id, enabled or not."""

    def only(self, rule_id: str) -> RuleSet:
        """Return a set with one rule, enabled or not. Raises KeyError if it does not exist."""
        return RuleSet([self.every[rule_id]], evidence=self.rules.evidence)


def read_rulebook(
    folder: Path | None,
    configured: Mapping[str, RuleSettings],
    enable: Iterable[str],
    *,
    base: Path,
    evidence: Evidence,
) -> Rulebook:
    """Load all rules and build them with their options.

    ``folder`` contains custom rules. ``configured`` maps rule ids to their settings. ``enable`` lists ids or globs of
    rules to enable. Files that options name are relative to ``base``. The ``evidence`` about addresses may be loaded
    later. A custom rule that can't be used becomes a problem in the result, not an error. If there are problems,
    unknown rules in the configuration are ignored, because they may be the unusable ones. Raises OSError if the
    folder can't be read, and RuleOptionError for unknown rules or invalid options.
    """
    found = load_rules(BUILT_IN, folder)
    if found.problems:
        configured = {rule_id: options for rule_id, options in configured.items() if rule_id in found.rules}
        enable = [glob for glob in enable if any(fnmatchcase(rule_id, glob) for rule_id in found.rules)]
    every = configured_rules(
        configured,
        read_file=lambda name: (base / name).read_text("utf-8"),
        classes=found.rules.values(),
        evidence=evidence,
    )
    on = enabled_rules(every, configured, enable)
    return Rulebook(found, RuleSet(on, complete=not found.problems, evidence=evidence), every)


def default_rulebook() -> Rulebook:
    """Build the built-in rules and those of installed packages, with their default options."""
    return read_rulebook(None, {}, (), base=Path(), evidence=Evidence())
