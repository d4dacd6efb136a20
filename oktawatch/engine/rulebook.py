"""Every rule, built-in and users' own, with the options from the configuration."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from msgspec import Struct

from oktawatch.config.errors import ConfigError
from oktawatch.detection.evidence import Evidence
from oktawatch.detection.options import ReadFile
from oktawatch.detection.registry import BUILT_IN, RuleSet, RuleSettings, configured_rules, rules_on
from oktawatch.detection.rule import Rule
from oktawatch.engine.loading import LoadedRules, load_rules


class Rulebook(Struct, frozen=True):
    """Every rule that exists, and the set of those that are on."""

    found: LoadedRules
    """The classes of all rules, with the problems of users' rules that can't be used."""
    rules: RuleSet
    """The rules that are on."""
    every: dict[str, Rule]
    """All rules, on or off, by id."""

    def only(self, rule_id: str) -> RuleSet:
        """Return one rule, whether it is on or not. Raises ConfigError when there is no such rule."""
        if rule_id not in self.every:
            problems = "; ".join(str(problem) for problem in self.found.problems)
            expected = f"expected one of {', '.join(self.found.rules)}"
            raise ConfigError("no such rule", rule_id, f"{expected}; {problems}" if problems else expected)
        return RuleSet([self.every[rule_id]])


def read_rulebook(
    folder: Path | None,
    configured: Mapping[str, RuleSettings],
    enable: Iterable[str],
    *,
    read_file: ReadFile,
    evidence: Evidence,
) -> Rulebook:
    """Load every rule and build it with its options.

    ``folder``: users' rules. ``configured``: the options by rule id. ``enable``: ids or globs to turn on.
    ``evidence``: the evidence about addresses, which may be loaded later.
    A user's rule that can't be used is a problem in the result, not an error. While there is one, the
    configuration may name rules that don't exist: it may mean those. Raises OSError when the folder can't be
    read, and RuleOptionError for options that make no sense.
    """
    found = load_rules(BUILT_IN, folder)
    if found.problems:
        configured = {rule_id: options for rule_id, options in configured.items() if rule_id in found.rules}
        enable = [glob for glob in enable if any(fnmatchcase(rule_id, glob) for rule_id in found.rules)]
    every = configured_rules(configured, read_file=read_file, classes=found.rules.values(), evidence=evidence)
    on = rules_on(every, configured, enable)
    return Rulebook(found, RuleSet(on, complete=not found.problems), every)
