"""A wrong setting is reported in one line: the problem, its place and what is expected."""

from collections.abc import Callable
from pathlib import Path

import pytest

from oktawatch.config import ConfigError, Settings

Load = Callable[..., Settings]

ALLOW = '[[allow]]\nreason = "London office"\n'
SOURCE = '[[evidence.sources]]\nname = "a"\n'


def error_of(load: Load, text: str = "", **keywords: str) -> str:
    """Return the error of a configuration that can't be loaded, without the file's folder."""
    with pytest.raises(ConfigError) as caught:
        load(text, **keywords)
    before, _, after = str(caught.value).partition("(/")
    return f"{before}({after.rpartition('/oktawatch.toml')[2] or after}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[poll]\nintervall = "3s"', "unknown key (: poll.intervall): did you mean interval?"),
        ("[pol]", "unknown key (: pol): did you mean poll?"),
        ("source = 1", "unknown key (: source): did you mean service?"),
        (
            "xyz = 1",
            "unknown key (: xyz): expected one of allow, database, detection, evidence, notifiers, orgs, poll",
        ),
        ("_env_file = 'x'", "unknown key (: _env_file): expected one of"),
        ('"\\u001b[31m" = 1', 'unknown key (: "\\u001b[31m"): expected one of'),
        ("poll = 3", "wrong value (: poll): expected a table"),
        ("[poll]\ninterval = 30", "wrong value (: poll.interval): expected a duration in quotes such as 30s"),
        (
            ALLOW,
            "entry for everything (: allow[#1]): expected a condition that excludes some matches, with one of rules, orgs",
        ),
        ('[[allow]]\nnetworks = ["203.0.113.0/24"]', "missing key (: allow[#1].reason): expected a value"),
        (
            ALLOW + "networks = []",
            "wrong value (: allow[#1].networks): expected at least one value, or no such key",
        ),
        (
            ALLOW + 'networks = ["203.0.113.0/24", "203.0.113.0/33"]',
            "wrong value (: allow[#1].networks[#2]): expected an address or a network such as 203.0.113.0/24",
        ),
        (
            ALLOW + 'networks = ["203.0.113.0/24,NO"]',
            "wrong value (: allow[#1].networks[#1]): expected an address",
        ),
        (ALLOW + 'networks = "203.0.113.7"', "wrong value (: allow[#1].networks): expected a list"),
        (
            ALLOW + 'kinds = ["vpn"]',
            "wrong value (: allow[#1].kinds[#1]): expected one of residential_proxy, tor,",
        ),
        (
            ALLOW + 'as_numbers = ["AS64500"]',
            "wrong value (: allow[#1].as_numbers[#1]): expected a whole number",
        ),
        (
            ALLOW + "as_numbers = [4294967296]",
            "wrong value (: allow[#1].as_numbers[#1]): expected at most 4294967295",
        ),
        (
            ALLOW + 'orgs = ["acme", "amce"]',
            'wrong value (: allow[#1].orgs): expected the names of orgs that exist, tags as "#tag", or "*"; there are: acme',
        ),
        (ALLOW + 'until = "soon"', "wrong value (: allow[#1].until): expected a date such as 2027-01-31"),
        (ALLOW + "until = 2027-01-31T08:00:00Z", "wrong value (: allow[#1].until): expected a date such as"),
        (ALLOW + 'actor = ["nora@example.com"]', "unknown key (: allow[#1].actor): did you mean actors?"),
        (
            '[[allow]]\nreason = " "',
            "wrong value (: allow[#1].reason): expected one line of 1 to 200 characters",
        ),
        ('[poll]\ninterval = "0s"', "wrong value (: poll.interval): expected at least 1s"),
        ('[poll]\ninterval = "soon"', "wrong value (: poll.interval): expected a duration such as 30s"),
        ('[poll]\npage_size = "500"', "wrong value (: poll.page_size): expected a whole number"),
        ("[poll]\npage_size = 1.5", "wrong value (: poll.page_size): expected a whole number"),
        ("[poll]\npage_size = true", "wrong value (: poll.page_size): expected a whole number"),
        ("[poll]\npage_size = 0", "wrong value (: poll.page_size): expected at least 1"),
        ("[poll]\npage_size = 1001", "wrong value (: poll.page_size): expected at most 1000"),
        ("[poll]\nrate_limit_share = 0", "wrong value (: poll.rate_limit_share): expected more than 0"),
        ("[poll]\nrate_limit_share = 1.01", "wrong value (: poll.rate_limit_share): expected at most 1"),
        ("[poll]\nrate_limit_share = nan", "wrong value (: poll.rate_limit_share): expected"),
        ("[poll]\nca_file = 3", "wrong value (: poll.ca_file): expected a path in quotes"),
        ('[poll]\nproxy = "socks5://h:1"', "wrong value (: poll.proxy): expected the proxy's URL"),
        ("[database]\nauto_upgrade = 1", "wrong value (: database.auto_upgrade): expected true or false"),
        ("[database]\nurl = 3", "wrong value (: database.url): expected text in quotes"),
        ("[detection]\nenable = '*'", "wrong value (: detection.enable): expected a list"),
        ("[detection]\nenable = [1]", "wrong value (: detection.enable[#1]): expected text in quotes"),
        ("rules = 1", "wrong value (: rules): expected a table"),
        ('[rules]\n"A.B" = 1', 'wrong value (: rules."A.B"): expected a table'),
        ('[rules."A.B"]\nenabled = "yes"', 'wrong value (: rules."A.B".enabled): expected true or false'),
        ("notifiers = 1", "wrong value (: notifiers): expected a list"),
        ("notifiers = [1]", "wrong value (: notifiers[#1]): expected a table"),
        ('[[notifiers]]\nname = "soc"', "missing key (: notifiers[soc].type): expected a value"),
        (
            '[[notifiers]]\ntype = "mail"',
            "wrong value (: notifiers[#1].type): expected apprise or file or log or webhook",
        ),
        (
            '[[notifiers]]\ntype = "webhook"',
            "missing secret (: notifiers[#1].url_file): expected url or url_file",
        ),
        (
            '[[notifiers]]\ntype = "webhook"\nurl = "http://soc.example.com"',
            "wrong value (: notifiers[#1].url): expected an https URL",
        ),
        (
            '[[notifiers]]\ntype = "apprise"\nurl = "http://soc.example.com"',
            "wrong value (: notifiers[#1].url): expected an https URL",
        ),
        ('[[notifiers]]\ntype = "log"\nurl = "https://h.example.com"', "wrong value (: notifiers[#1].url)"),
        ('[[notifiers]]\ntype = "log"\nsecret = "abc"', "wrong value (: notifiers[#1].secret)"),
        ('[[notifiers]]\ntype = "file"', "missing key (: notifiers[#1].path): expected the path of a file"),
        (
            '[[notifiers]]\ntype = "file"\npath = "a"\nurl = "https://h.example.com"',
            "wrong value (: notifiers[#1].url): expected no url: a notifier of type file writes to path",
        ),
        (
            '[[notifiers]]\ntype = "file"\npath = "a"\nformat = "cef"',
            "wrong value (: notifiers[#1].format): expected 'ecs' or 'ocsf'",
        ),
        (
            '[[notifiers]]\ntype = "file"\npath = 3',
            "wrong value (: notifiers[#1].path): expected a path in quotes",
        ),
        (
            '[[notifiers]]\ntype = "log"\nmin_severity = "urgent"',
            "wrong value (: notifiers[#1].min_severity): expected one of INFO",
        ),
        ('[[notifiers]]\ntype = "log"\nmin_severity = 3', "wrong value (: notifiers[#1].min_severity)"),
        (
            '[[notifiers]]\ntype = "log"\non = []',
            'wrong value (: notifiers[#1].on): expected at least one of "opened"',
        ),
        (
            '[[notifiers]]\ntype = "log"\non = ["opend"]',
            "wrong value (: notifiers[#1].on[#1]): expected 'opened', 'raised', 'acknowledged' or 'closed'",
        ),
        (
            '[[notifiers]]\ntype = "apprise"\nurl = "pagerduty://KEY@TOKEN"\non = ["acknowledged"]',
            'wrong value (: notifiers[#1].on): expected no "acknowledged": Apprise only opens',
        ),
        ('[[notifiers]]\ntype = "log"\nmax_per_minute = 0', "wrong value (: notifiers[#1].max_per_minute)"),
        (
            '[[notifiers]]\ntype = "log"\n[[notifiers]]\ntype = "log"',
            "wrong value (: notifiers[#2].name): expected a unique name",
        ),
        (
            '[[notifiers]]\ntype = "log"\norgs = ["acmee"]',
            "wrong value (: notifiers[#1].orgs): expected the names",
        ),
        (
            '[[notifiers]]\ntype = "log"\norgs = ["#eu"]',
            "wrong value (: notifiers[#1].orgs): expected the names",
        ),
        (
            f'{SOURCE}path = "exits.txt"',
            "missing key (: evidence.sources[#1].kind): expected the kind of the networks, one of residential_proxy",
        ),
        (
            f'{SOURCE}path = "a.mmdb"\nkind = "tor"',
            "wrong value (: evidence.sources[#1].kind): expected this key only for networks",
        ),
        (
            f'{SOURCE}path = "a.txt"\nkind = "vpn"',
            "wrong value (: evidence.sources[#1].kind): expected one of residential_proxy",
        ),
        (
            SOURCE,
            "missing key (: evidence.sources[#1].path): expected path or url",
        ),
        (
            f'{SOURCE}kind = "tor"\npath = "a.txt"\nurl = "https://lists.example.com/a.txt"',
            "wrong value (: evidence.sources[#1].url): expected path or url, not both",
        ),
        (
            f'{SOURCE}kind = "tor"\nurl = "http://lists.example.com/a.txt"',
            "wrong value (: evidence.sources[#1].url): expected an https URL",
        ),
        (
            f'{SOURCE}kind = "tor"\nurl = "https://lists.example.com/a.txt"\nurl_file = "a.url"',
            "conflicting keys (: evidence.sources[#1].url): expected url or url_file, not both",
        ),
        (
            f'{SOURCE}kind = "tor"\nurl_file = "none.url"',
            "no secret (: evidence.sources[#1].url_file): expected a readable file at",
        ),
        (
            f'{SOURCE}kind = "tor"\nurl = "https://lists.example.com/a.mmdb"',
            "wrong value (: evidence.sources[#1].kind): expected this key only for networks",
        ),
        (
            f'{SOURCE}kind = "tor"\npath = "a.txt"\n{SOURCE}kind = "tor"\npath = "b.txt"',
            "wrong value (: evidence.sources[#2].name): expected a unique name",
        ),
        ('[evidence]\nrefresh = "5m"', "wrong value (: evidence.refresh): expected at least 10m"),
        (
            '[evidence.operators]\nX = "vpn"',
            "wrong value (: evidence.operators.X): expected one of residential_proxy",
        ),
        (
            '[evidence.severity]\ntor = "BAD"',
            "wrong value (: evidence.severity.tor): expected one of INFO",
        ),
        (
            "[evidence.adjustments]\nfamiliar = 5",
            "wrong value (: evidence.adjustments.familiar): expected a number of levels from -4 to 4; 0 turns it off",
        ),
        (
            "[evidence.adjustments]\nfamiliar = true",
            "wrong value (: evidence.adjustments.familiar): expected a number of levels from -4 to 4; 0 turns it off",
        ),
        (
            "[evidence.adjustments]\nfamilar = 0",
            "unknown key (: evidence.adjustments.familar): expected one of new_device_and_place, after_failures",
        ),
        (
            '[evidence.severity]\nvpn = "LOW"',
            "unknown key (: evidence.severity.vpn): expected one of residential_proxy, tor",
        ),
        ('[silence]\nheartbeat_url = "http://h.example.com"', "wrong value (: silence.heartbeat_url)"),
        (
            '[poll]\ninterval = "11m"',
            "wrong value (: silence.after): expected at least 1.5 times poll.interval",
        ),
        ('[retention]\nalerts = "99d"', "wrong value (: retention.alerts): expected at least 100d"),
        (
            '[retention]\nevents = "24h"',
            "wrong value (: retention.events): expected at least 26h (poll.sweep_window plus one day)",
        ),
        (
            '[poll]\nsweep_window = "30d"',
            "wrong value (: retention.events): expected at least 31d (poll.sweep_window plus one day)",
        ),
        ('[service]\nlog_level = "loud"', "wrong value (: service.log_level): expected 'debug', 'info'"),
        ('[service]\nlisten = "9464"', "wrong value (: service.listen): expected HOST:PORT"),
        ('[service]\nlisten = "h:99999"', "wrong value (: service.listen): expected HOST:PORT"),
    ],
)
def test_a_mistake_gets_one_line(load: Load, text: str, expected: str) -> None:
    """The error names the problem, the key and the expected value in one line."""
    assert error_of(load, text).startswith(expected)


@pytest.mark.parametrize(
    ("org", "expected"),
    [
        ('token = "00t"', "missing key (: orgs[#1].url): expected a value, because there is no default"),
        (
            'url = "https://acme.okta.com"',
            "missing secret (: orgs[#1].token_file): expected token_file (SSWS), or",
        ),
        (
            'name = "a"\nurl = "http://acme.okta.com"\ntoken = "t"',
            "wrong value (: orgs[a].url): expected an https",
        ),
        ('name = "a b"\nurl = 3\ntoken = "t"', "wrong value (: orgs[a b].url): expected text in quotes"),
        (
            'name = "a\\nb"\nurl = "https://a.okta.com"\ntoken = "t"',
            "wrong value (: orgs[#1].name): expected 1 to",
        ),
        (
            'name = ""\nurl = "https://a.okta.com"\ntoken = "t"',
            "wrong value (: orgs[#1].name): expected 1 to",
        ),
        (
            'name = "#a"\nurl = "https://a.okta.com"\ntoken = "t"',
            "wrong value (: orgs[#a].name): expected a name that",
        ),
        (
            'name = "*"\nurl = "https://a.okta.com"\ntoken = "t"',
            "wrong value (: orgs[*].name): expected a name that",
        ),
        (
            'url = "https://a.okta.com"\ntoken = "t"\ntokn = "x"',
            "unknown key (: orgs[#1].tokn): did you mean token?",
        ),
        (
            'url = "https://a.okta.com"\ntoken = "t"\ntoken_file = "f"',
            "conflicting keys (: orgs[#1].token): expected",
        ),
        (
            'url = "https://a.okta.com"\ntoken = "t"\nclient_id = "c"',
            "wrong value (: orgs[#1].token): expected a token or",
        ),
        (
            'url = "https://a.okta.com"\ntoken = "tökén"',
            "wrong value (: orgs[#1].token): expected an API token",
        ),
        (
            'url = "https://a.okta.com"\nprivate_key = "{}"',
            "missing key (: orgs[#1].client_id): expected the OAuth",
        ),
        (
            'url = "https://a.okta.com"\nclient_id = "c"\nprivate_key = "/etc/passwd"',
            "wrong value (: orgs[#1].private_key): expected a private key in PEM or as a JWK",
        ),
        (
            'url = "https://a.okta.com"\ntoken = "t"\ndpop = "true"',
            "wrong value (: orgs[#1].dpop): expected true or",
        ),
    ],
)
def test_a_mistake_in_an_org_names_the_org(load: Load, org: str, expected: str) -> None:
    """The error names the org by its name if that is valid, else by its number."""
    assert error_of(load, orgs=f"[[orgs]]\n{org}").startswith(expected)


def test_orgs_with_the_same_name_are_reported_by_number(load: Load) -> None:
    """If two orgs have the same name, the error refers to the second one by its number."""
    org = '[[orgs]]\nname = "acme"\nurl = "https://acme.okta.com"\ntoken = "00t"\n'
    assert error_of(load, orgs=org + org) == (
        "wrong value (: orgs[#2].name): expected a unique name, and another entry has this one"
    )


def test_a_rules_options_are_kept_for_the_rule(load: Load, tmp_path: Path) -> None:
    """A rule's options are passed on without validation, and `Settings.error` names their file and key."""
    settings = load('[rules."A.B"]\nthreshold = 0\noptions = 1')
    assert settings.rules["A.B"].options == {"threshold": 0, "options": 1}
    assert settings.rules["A.B"].enabled is None
    error = settings.error("wrong value", "rules", "A.B", "threshold", expected="expected at least 1")
    file = tmp_path / "oktawatch.toml"
    assert str(error) == f'wrong value ({file}: rules."A.B".threshold): expected at least 1'
