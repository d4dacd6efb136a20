"""The enabled rules, their options, and the filter that they need."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from oktawatch.detection.options import RuleOptionError
from oktawatch.detection.registry import BUILT_IN, RuleSet, RuleSettings, build_rules
from oktawatch.detection.rule import EventRule, Rule
from oktawatch.detection.rules.anonymizing_vpn_login import AnonymizingVpnLogin
from oktawatch.model.event import Event
from oktawatch.model.severity import Severity
from oktawatch.systemlog.queries import bounded_query

R1 = AnonymizingVpnLogin.id
NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


def read_file(path: str) -> str:
    """Return the contents of the test's files."""
    match path:
        case "relays.csv":
            return "192.0.2.0/24\n"
        case "broken.csv":
            return "192.0.2.0/24\nnonsense\n"
        case "binary.csv":
            return b"\xff".decode("utf-8")
    raise FileNotFoundError(2, "No such file or directory")


def build(
    options: dict[str, Any] | None = None, *, enabled: bool | None = None, enable: Iterable[str] = ()
) -> RuleSet:
    """Build the rules with these settings of the main rule."""
    return build_rules({R1: RuleSettings(enabled, options or {})}, enable=enable, read_file=read_file)


def with_types(*types: str) -> Rule:
    """Build a rule that needs these event types."""

    @dataclass(frozen=True, kw_only=True)
    class Example(EventRule):
        id: ClassVar[str] = " ".join(types)
        event_types: ClassVar[tuple[str, ...]] = types
        severity: Severity = Severity.LOW
        dedup_period: timedelta = timedelta(hours=1)

        def matches(self, event: Event) -> bool:
            return True

    return Example()


def test_only_the_main_detection_is_on_by_default() -> None:
    """Only the main detection is enabled by default, with the published options."""
    (rule,) = build_rules({}, read_file=read_file).rules
    assert isinstance(rule, AnonymizingVpnLogin)
    assert (rule.severity, rule.dedup_period, rule.threshold) == (Severity.MEDIUM, timedelta(minutes=360), 1)


def test_the_filter_of_the_main_detection_alone_is_exactly_its_event_type() -> None:
    """With the main rule alone, Okta sends only sign-ins."""
    assert build().filter == 'eventType eq "user.session.start"'


@pytest.mark.parametrize(
    ("types", "wanted"),
    [
        ([["b"], ["a", "b"]], 'eventType eq "a" or eventType eq "b"'),
        ([["user.session.start"], ["user.*"]], 'eventType sw "user."'),
        ([["user*"], ["user.*", "user"], ["user!x"]], 'eventType sw "user"'),
        (
            [["user.mfa.*", "user.session.start"]],
            'eventType sw "user.mfa." or eventType eq "user.session.start"',
        ),
        ([], 'eventType eq ""'),
    ],
)
def test_the_filter_is_the_union_of_what_the_rules_need(types: list[list[str]], wanted: str) -> None:
    """The filter has each needed type once, without those that a prefix includes."""
    assert RuleSet(with_types(*some) for some in types).filter == wanted


def test_a_filter_that_is_too_long_for_a_url_is_widened() -> None:
    """A filter that is too long for a URL is widened to prefixes, then to all events."""
    many = [f"{word}.number.{n}" for word in ("user", "zone") for n in range(100)]
    assert RuleSet([with_types("single", *many)]).filter == (
        'eventType eq "single" or eventType sw "user." or eventType sw "zone."'
    )
    assert RuleSet([with_types(*(f"word{n}.x" for n in range(500)))]).filter == "eventType pr"


@pytest.mark.parametrize("count", range(60, 120, 5))
def test_a_percent_encoded_filter_fits_a_url(count: int) -> None:
    """A URL with a filter of many event types has less than 4 KB, in which a quotation mark takes three bytes."""
    rules = RuleSet([with_types(*(f"system.agent.type_{number:03}" for number in range(count)))])
    assert len(url_with(rules.filter)) < 4_096


def url_with(scim: str) -> str:
    """Return the longest URL of a request with a filter."""
    return (
        "https://"
        + "x" * 63
        + ".okta-emea.com"
        + bounded_query(since=NOW, until=NOW, filter=scim, limit=1000)
    )


def test_the_filter_of_all_rules_fits_a_url() -> None:
    """The filter of all rules fits a URL and has each needed type."""
    rules = build(enable=["*"])
    assert len(rules.rules) == len(BUILT_IN)
    assert len(url_with(rules.filter)) < 4_096
    for kind in ("user.session.start", "policy.evaluate_sign_on", "zone.update", "iam.role.create"):
        assert f'eventType eq "{kind}"' in rules.filter
    assert 'eventType sw "user.authentication."' in rules.filter
    assert 'eventType eq "user.authentication.sso"' not in rules.filter


def test_configured_event_types_change_the_filter() -> None:
    """An event type that is added to a rule's list is in the filter."""
    rule_id = "Okta.High.Risk.Admin.Activity"
    settings = {rule_id: RuleSettings(enabled=True, options={"operations": ["app.oauth2.client.create"]})}
    rules = build_rules(settings, read_file=read_file)
    assert 'eventType eq "app.oauth2.client.create"' in rules.filter
    assert "iam.role.create" not in rules.filter


@pytest.mark.parametrize("value", ["x", [], [7], [""], ['a" or eventType pr'], ["a b"], [["a"]], {"a": 1}])
def test_invalid_event_types_are_refused(value: Any) -> None:
    """Invalid event types are refused, because they become part of a filter."""
    options = {"operations": value}
    settings = {"Okta.High.Risk.Admin.Activity": RuleSettings(options=options)}
    with pytest.raises(RuleOptionError, match=r'expected a list such as \["iam\.role\.create", "iam'):
        build_rules(settings, read_file=read_file)


@pytest.mark.parametrize("rule", BUILT_IN, ids=lambda rule: rule.id)
def test_every_built_in_rule_has_complete_metadata(rule: type[Rule]) -> None:
    """Every built-in rule has complete metadata."""
    for text in (rule.id, rule.name, rule.description, rule.runbook, rule.false_positives):
        assert text
        assert text == " ".join(text.split())
    assert rule.references
    assert rule.signal or rule.mitre
    assert rule.on_by_default is (rule.id == R1)


def test_options_override_defaults() -> None:
    """Each option of a rule can be overridden."""
    options = {"severity": "high", "dedup_period": "1h", "threshold": 3, "relay_networks": "relays.csv"}
    (rule,) = build(options).rules
    assert isinstance(rule, AnonymizingVpnLogin)
    assert (rule.severity, rule.dedup_period, rule.threshold) == (Severity.HIGH, timedelta(hours=1), 3)
    assert "192.0.2.9" in rule.relay_networks
    assert build(options).policies[R1].threshold == 3


def test_an_empty_path_means_no_ranges() -> None:
    """An empty path is the default, no ranges."""
    (rule,) = build({"relay_networks": ""}).rules
    assert isinstance(rule, AnonymizingVpnLogin)
    assert rule.relay_networks.empty


@pytest.mark.parametrize(
    ("enabled", "enable", "on"),
    [(None, [], True), (False, [], False), (False, ["*"], False), (True, [], True), (None, ["Okta.*"], True)],
)
def test_a_rules_own_setting_overrides_globs_and_the_default(
    enabled: bool | None, enable: list[str], on: bool
) -> None:
    """A rule's own setting takes precedence over globs, and globs over the default."""
    assert (R1 in build(enabled=enabled, enable=enable).policies) is on


@pytest.mark.parametrize(
    ("options", "key", "problem"),
    [
        (
            {"sevrity": "LOW"},
            "sevrity",
            "no such option; there are: enabled, severity, dedup_period, threshold",
        ),
        ({"severity": "urgent"}, "severity", "expected one of INFO, LOW, MEDIUM, HIGH, CRITICAL"),
        ({"severity": 3}, "severity", "expected a severity such as MEDIUM"),
        ({"dedup_period": 360}, "dedup_period", "expected a duration such as 6h"),
        ({"dedup_period": "6 hours"}, "dedup_period", "expected a duration such as"),
        ({"dedup_period": "0s"}, "dedup_period", "above zero"),
        ({"dedup_period": "2000d"}, "dedup_period", "at most 400d"),
        ({"threshold": 0}, "threshold", "expected a whole number of at least 1"),
        ({"threshold": True}, "threshold", "expected a whole number of at least 1"),
        ({"threshold": "3"}, "threshold", "expected a whole number of at least 1"),
        ({"relay_networks": ["192.0.2.0/24"]}, "relay_networks", "expected the path of a file"),
        ({"signals": "is_proxy"}, "signals", "expected a list of is_proxy, tunnels, ip_details"),
        ({"signals": []}, "signals", "expected a list of is_proxy"),
        ({"signals": ["proxy"]}, "signals", "expected a list of is_proxy"),
        ({"signals": [["is_proxy"]]}, "signals", "expected a list of is_proxy"),
        ({"relay_networks": "none.csv"}, "relay_networks", "can't read none.csv: No such file or directory"),
        ({"relay_networks": "binary.csv"}, "relay_networks", "can't read binary.csv: it is not UTF-8 text"),
        ({"relay_networks": "broken.csv"}, "relay_networks", "broken.csv, line 2: expected an address range"),
    ],
)
@pytest.mark.parametrize("enabled", [True, False])
def test_an_invalid_option_is_refused_with_the_expected_value(
    options: dict[str, Any], key: str, problem: str, enabled: bool
) -> None:
    """Options are checked even if the rule is disabled, so that enabling it can't fail."""
    with pytest.raises(RuleOptionError, match=problem) as caught:
        build(options, enabled=enabled)
    assert (caught.value.rule_id, caught.value.key) == (R1, key)


def test_an_unknown_rule_is_refused_with_the_known_ids() -> None:
    """An unknown id or a glob without a match is refused with the known ids."""
    with pytest.raises(RuleOptionError, match=f"no such rule; there are: {R1}"):
        build_rules({"Okta.Anonymising": RuleSettings()}, read_file=read_file)
    with pytest.raises(RuleOptionError, match="no rule's id matches"):
        build(enable=["okta.*"])
