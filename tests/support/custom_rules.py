"""Custom rules of every kind, and watches that evaluate them."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from oktawatch.detection.registry import BUILT_IN, RuleSet, configured_rules
from oktawatch.engine.pipeline import Watch
from oktawatch.engine.routing import Route
from oktawatch.rules import CountInWindow, EventRule, Severity
from tests.support.databases import ORG

METADATA = dict.fromkeys(("name", "description", "runbook", "false_positives"), "x")
TYPES = ("user.session.start",)


def custom_rule(kind: type, name: str, **methods: Any) -> type:
    """Return the class of a custom rule of a kind, with these methods and attributes."""
    numbers: dict[str, Any] = {"severity": Severity.HIGH, "dedup_period": timedelta(hours=1)}
    if not issubclass(kind, EventRule):
        numbers["window"] = timedelta(hours=1)
    if issubclass(kind, CountInWindow):
        numbers["at_least"] = 1
    body = {
        **{key: value for key, value in METADATA.items() if not hasattr(kind, key)},
        "id": f"Acme.{name}",
        "event_types": TYPES,
        "column": "client_ip",
        **numbers,
        **methods,
    }
    body["__annotations__"] = {key: type(value) for key, value in numbers.items()}
    return dataclass(frozen=True, kw_only=True)(type(name, (kind,), body))


def watch_with(*classes: Any, watched: str = "*") -> Watch:
    """Return a watch with these custom rules and one built-in rule. ``watched`` selects the notifier's orgs."""
    every = configured_rules({}, read_file=str, classes=(*BUILT_IN, *classes))
    rules = RuleSet([every[rule_class.id] for rule_class in (*classes, BUILT_IN[0])])
    return Watch(org=ORG, rules=rules, routes=(Route(notifier="soc", orgs=(watched,)),))
