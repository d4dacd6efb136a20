"""An application has the rules, credentials, routes and notifiers of its settings, or raises an error."""

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from oktawatch import config
from oktawatch.config import ConfigError, Settings
from oktawatch.detection.rules.anonymizing_vpn_login import AnonymizingVpnLogin
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.model.anonymizer_kind import AnonymizerKind
from oktawatch.model.severity import Severity
from oktawatch.service.app import Application
from oktawatch.service.database import open_database, prepare_database
from oktawatch.service.delivery import open_notifiers
from oktawatch.service.watching import watch_orgs
from oktawatch.store.status import org_statuses
from oktawatch.systemlog.access import ServiceApp
from tests.support.signing import rsa_pem, rsa_private_jwk

ORG = '[[orgs]]\nname = "acme"\nurl = "https://acme.okta.com"\ntags = ["prod"]\n'
ALLOW = '[[allow]]\nreason = "London office"\n'
R1 = '[rules."Okta.Anonymizing.VPN.Login"]\n'

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a configuration from a text, to which an org is added."""

    def from_text(text: str = "", *, org: str = ORG + 'token = "00inline"\n') -> Settings:
        file = tmp_path / "oktawatch.toml"
        file.write_text(org + text, encoding="utf-8")
        return config.load(file, environ={}, cwd=tmp_path)

    return from_text


def test_the_main_rule_is_enabled_by_default(load: Load) -> None:
    """By default, the main rule is enabled with its default options."""
    (rule,) = Application(load()).rules.rules

    assert rule == AnonymizingVpnLogin()


def test_a_rule_gets_its_configured_options(load: Load, tmp_path: Path) -> None:
    """A rule gets its common and specific options, and reads files relative to the configuration."""
    (tmp_path / "relays.csv").write_text("192.0.2.0/24,US\n", encoding="utf-8")
    options = 'severity = "HIGH"\ndedup_period = "2h"\nthreshold = 3\nrelay_networks = "relays.csv"\n'

    (rule,) = Application(load(R1 + options)).rules.rules

    assert isinstance(rule, AnonymizingVpnLogin)
    assert (rule.severity, rule.dedup_period, rule.threshold) == (Severity.HIGH, timedelta(hours=2), 3)
    assert "192.0.2.7" in rule.relay_networks


def test_a_disabled_rule_is_not_evaluated(load: Load) -> None:
    """A disabled rule is not evaluated."""
    assert Application(load(R1 + "enabled = false\n")).rules.rules == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[rules."Okta.Login"]\n', 'rules."Okta.Login"): no such rule'),
        (R1 + "colour = 1\n", 'rules."Okta.Anonymizing.VPN.Login".colour): no such option'),
        (R1 + 'dedup_period = "500d"\n', '"Okta.Anonymizing.VPN.Login".dedup_period): expected a duration'),
        (R1 + 'relay_networks = "none.csv"\n', ".relay_networks): can't read none.csv: No such file"),
        ('[detection]\nenable = ["Nothing.*"]\n', "detection.enable): no rule's id matches"),
        (
            '[[notifiers]]\ntype = "log"\nname = "soc"\nrules = ["Okta.*", "Okta.Anonymising.*"]\n',
            "unknown rule (/oktawatch.toml: notifiers[soc].rules): expected ids or globs of rules that exist",
        ),
    ],
)
def test_an_invalid_rule_option_is_refused(load: Load, tmp_path: Path, text: str, expected: str) -> None:
    """An invalid rule option raises ConfigError with file and key."""
    with pytest.raises(ConfigError) as caught:
        _ = Application(load(text)).rules

    assert "oktawatch.toml: " in str(caught.value)
    assert expected in str(caught.value).replace(str(tmp_path), "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            ALLOW + 'rules = ["Okta.*", "Okta.Anonymising.*"]\nactors = ["a"]\n',
            "unknown rule (/oktawatch.toml: allow[#1].rules): expected ids or globs of rules that exist; there are: Okta",
        ),
        (
            ALLOW + 'rules = ["Okta.*"]\norgs = ["#prod"]\nnetworks = ["0.0.0.0/0", "::/0"]\n',
            "entry for everything (/oktawatch.toml: allow[#1]): expected a condition that excludes some matches",
        ),
        # The only enabled rule.
        (
            ALLOW + 'rules = ["Okta.Anonymizing.VPN.Login"]\n',
            "entry for everything (/oktawatch.toml: allow[#1])",
        ),
        (
            ALLOW + 'zones = ["A", "B"]\n' + ALLOW + 'until = 2027-01-31\nzones = ["B", "A"]\n',
            "repeated entry (/oktawatch.toml: allow[#2]): expected other conditions than those of allow[#1]",
        ),
    ],
)
def test_an_invalid_allow_entry_is_refused(load: Load, tmp_path: Path, text: str, expected: str) -> None:
    """An entry for an unknown rule, for everything or with another entry's conditions is refused at the start."""
    with pytest.raises(ConfigError) as caught:
        Application.build(load(text))

    assert str(caught.value).replace(str(tmp_path), "").startswith(expected)


async def test_every_condition_of_an_allow_entry_is_passed_on(load: Load) -> None:
    """Every condition of an allow entry is passed on, including a date that is configured as text."""
    conditions = (
        'rules = ["Okta.*"]\norgs = ["#prod"]\nactors = ["nora@*"]\nnetworks = ["203.0.113.0/24"]\n'
        'as_numbers = [64500]\noperators = ["NORD"]\nkinds = ["tor"]\nzones = ["Office"]\n'
    )
    app = Application(load(ALLOW + 'until = "2027-01-31"\n' + conditions + ALLOW + 'actors = ["eve"]\n'))
    database = DatabaseExecutor("sqlite://")

    async with watch_orgs(app, database) as watches:
        entry, other = watches["acme"].allow.entries
    database.close()

    assert (entry.reason, entry.until) == ("London office", date(2027, 1, 31))
    assert entry.conditions == {
        "rules": ("Okta.*",),
        "orgs": ("#prod",),
        "actors": ("nora@*",),
        "networks": ("203.0.113.0/24",),
        "as_numbers": (64500,),
        "zones": ("Office",),
        "kinds": (AnonymizerKind.TOR,),
        "operators": ("NORD",),
    }
    assert (other.until, other.conditions) == (None, {"actors": ("eve",)})


def test_one_rule_alone_keeps_its_allow_entries(load: Load) -> None:
    """An entry that names the only rule of a replay is not an entry for everything."""
    text = ALLOW + 'rules = ["Okta.Multiple.Sessions"]\n'

    assert len(Application.build(load(text), rule_id="Okta.Multiple.Sessions").allow.entries) == 1


async def test_watch_has_the_orgs_tags_and_routes(load: Load) -> None:
    """An org has its configured name and tags, and routes to the notifiers that want its alerts."""
    app = Application(
        load('[[notifiers]]\ntype = "log"\nname = "console"\nmin_severity = "HIGH"\norgs = ["#prod"]\n')
    )
    database = DatabaseExecutor("sqlite://")

    async with watch_orgs(app, database) as watches:
        watch = watches["acme"]
    database.close()

    assert (watch.org, watch.tags, watch.rules) == ("acme", ("prod",), app.rules)
    (route,) = watch.routes
    assert (route.notifier, route.min_severity, route.orgs) == ("console", Severity.HIGH, ("#prod",))


def test_access_has_the_token(load: Load) -> None:
    """The access to an org contains its token, but the repr doesn't."""
    settings = load()

    access = Application(settings).access("acme")

    assert (access.name, access.url, access.token) == ("acme", "https://acme.okta.com", "00inline")
    assert "00inline" not in repr(access)


def test_a_renewed_access_reads_the_file_again(load: Load, tmp_path: Path) -> None:
    """A renewed access has the token that is in the file now; otherwise it has the token from the start."""
    file = tmp_path / "acme.token"
    file.write_text("00first\n", encoding="utf-8")
    settings = load(org=ORG + 'token_file = "acme.token"\n')
    file.write_text("00second\n", encoding="utf-8")

    assert Application(settings).access("acme").token == "00first"
    assert Application(settings).access("acme", renewed=True).token == "00second"


def test_a_renewed_access_without_a_file_keeps_its_token(load: Load) -> None:
    """A token from the configuration itself is kept on renewal."""
    settings = load()

    assert Application(settings).access("acme", renewed=True).token == "00inline"


def test_a_renewed_access_with_a_missing_file_is_an_error(load: Load, tmp_path: Path) -> None:
    """A missing token file raises an error with its key."""
    file = tmp_path / "acme.token"
    file.write_text("00first\n", encoding="utf-8")
    settings = load(org=ORG + 'token_file = "acme.token"\n')
    file.unlink()

    with pytest.raises(ConfigError, match=r"orgs\[acme\]\.token_file\): expected a readable file"):
        Application(settings).access("acme", renewed=True)


@pytest.mark.parametrize("kind", ["pem", "jwk"])
def test_the_key_of_a_service_app_becomes_pem(load: Load, kind: str) -> None:
    """A key in either format becomes PEM, and the JWK's key id applies unless another one is configured."""
    key = rsa_pem() if kind == "pem" else json.dumps(rsa_private_jwk("k1"))
    settings = load(org=ORG + f"client_id = \"0oaexample\"\ndpop = true\nprivate_key = '''{key}'''\n")

    access = Application(settings).access("acme")

    assert access.app == ServiceApp("0oaexample", rsa_pem(), kid="k1" if kind == "jwk" else "", dpop=True)
    assert access.token == ""
    assert "PRIVATE" not in repr(access)


def test_a_service_app_s_key_is_renewed_from_its_file(load: Load, tmp_path: Path) -> None:
    """A service app's key is read again from its file, like a token."""
    file = tmp_path / "acme.pem"
    file.write_text(rsa_pem(), encoding="utf-8")
    settings = load(org=ORG + 'client_id = "0oaexample"\nprivate_key_file = "acme.pem"\n')
    file.write_text(json.dumps(rsa_private_jwk("k2")), encoding="utf-8")

    app = Application(settings).access("acme", renewed=True).app

    assert app is not None
    assert app.kid == "k2"


def test_an_invalid_private_key_is_refused(load: Load) -> None:
    """An invalid private key raises ConfigError with file and key."""
    settings = load(org=ORG + 'client_id = "0oaexample"\nprivate_key = "{}"\n')

    with pytest.raises(
        ConfigError, match=r"oktawatch\.toml: orgs\[acme\]\.private_key\): expected a private key"
    ):
        Application(settings).access("acme")


def test_a_renewed_token_that_is_invalid_in_a_header_is_refused(load: Load, tmp_path: Path) -> None:
    """A token file without a usable token raises an error with its key and without its content."""
    file = tmp_path / "acme.token"
    file.write_text("00first\n", encoding="utf-8")
    settings = load(org=ORG + 'token_file = "acme.token"\n')
    file.write_text("00töken\n", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"orgs\[acme\]\.token_file\)") as caught:
        Application(settings).access("acme", renewed=True)

    assert "00t" not in str(caught.value)


async def test_notifiers_channels_and_routes_have_the_same_names(load: Load) -> None:
    """Notifiers, channels and routes have the same names."""
    app = Application(
        load('[[notifiers]]\ntype = "log"\nname = "one"\n[[notifiers]]\ntype = "log"\nname = "two"\n')
    )
    database = DatabaseExecutor("sqlite://")

    async with open_notifiers(app, database) as notifiers:
        names = [notifier.name for notifier in notifiers]
    database.close()

    assert names == list(app.channels) == [route.notifier for route in app.routes] == ["one", "two"]


def test_alerts_are_logged_without_a_notifier(load: Load) -> None:
    """Without notifiers, alerts go to the log."""
    assert list(Application(load()).channels) == ["log"]


def test_only_the_chosen_orgs_need_credentials(load: Load) -> None:
    """A command for one org ignores another org's invalid key."""
    settings = load(
        '[[orgs]]\nname = "globex"\nurl = "https://globex.okta.com"\nclient_id = "0oa"\nprivate_key = "{}"\n'
    )

    app = Application.build(settings, orgs=["acme"])
    assert list(app.accesses) == app.orgs == ["acme"]
    assert list(app.org_tags) == ["acme", "globex"]
    with pytest.raises(ConfigError, match=r"orgs\[globex\]\.private_key"):
        Application.build(settings)


def test_a_command_for_one_rule_uses_only_that_rule(load: Load) -> None:
    """A command for a single rule uses only that rule, enabled or not."""
    app = Application.build(load(R1 + "enabled = false\n"), rule_id="Okta.Anonymizing.VPN.Login")

    assert app.rules.rules == (AnonymizingVpnLogin(),)
    with pytest.raises(ConfigError, match=r"no such rule \(Okta.Nothing\): expected one of Okta\."):
        Application.build(load(), rule_id="Okta.Nothing")


def test_building_finds_the_errors_of_all_parts(load: Load, tmp_path: Path) -> None:
    """`build` finds the errors of all parts that need no database."""
    mistakes = {
        '[detection]\nenable = ["Nothing.*"]\n': "unknown rule",
        '[[notifiers]]\ntype = "apprise"\nurl = "carrier-pigeon://token/loft"\n': "wrong value",
        '[poll]\nca_file = "missing.pem"\n': "no certificates",
    }
    for text, what in mistakes.items():
        settings = load(text)
        with pytest.raises(ConfigError, match=what):
            Application.build(settings)
    assert not (tmp_path / "oktawatch.db").exists()


def test_an_unknown_apprise_url_is_refused(load: Load) -> None:
    """An unknown Apprise URL raises ConfigError with file and key, and without the URL."""
    settings = load('[[notifiers]]\ntype = "apprise"\nname = "chat"\nurl = "carrier-pigeon://token/loft"\n')

    with pytest.raises(
        ConfigError, match=r"notifiers\[chat\]\.url\): expected a URL that Apprise knows"
    ) as caught:
        _ = Application(settings).channels

    assert "pigeon" not in str(caught.value)


async def test_database_is_opened_and_prepared(load: Load, tmp_path: Path) -> None:
    """Preparing a database creates its file, its schema and a row for each org. Opening it alone creates nothing."""
    settings = load()
    database = open_database(Application(settings))
    assert not (tmp_path / "oktawatch.db").exists()

    await prepare_database(Application(settings), database)
    statuses = await database.run(org_statuses)
    database.close()

    assert [status.org for status in statuses] == ["acme"]


def test_an_unusable_database_is_an_error_of_one_line(load: Load) -> None:
    """An unusable database raises an error of one line with file and key."""
    settings = load('[database]\nurl = "sqlite:///nowhere.db"\n')

    with pytest.raises(ConfigError, match=r"oktawatch\.toml: database\.url\): .*there is no database at"):
        open_database(Application(settings), create=False)
