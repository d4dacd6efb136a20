"""A channel of another package works as docs/notifications.md describes."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from oktawatch import config
from oktawatch.config import ConfigError, Settings
from oktawatch.config.channels import load_channel
from oktawatch.notify.channel import Way
from oktawatch.service.app import Application
from oktawatch.service.check import Verdict, check
from tests.support.http import listening
from tests.support.messages import due
from tests.support.outbox import COMPOSER
from tests.support.packages import install

PAGE = (Path(__file__).parents[3] / "docs" / "notifications.md").read_text("utf-8")
PAGER = re.search(r"^```python\n(# acme_pager\.py\n.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
PLAIN = '''
class PlainChannel:
    """Keeps its arguments."""

    def __init__(self, settings, way):
        self.settings, self.way = settings, way

    async def send(self, message): ...

    async def close(self): ...
'''
ORG = '[[orgs]]\nname = "acme"\nurl = "https://acme.okta.com"\ntoken = "00t"\n'
NOTIFIER = '[[notifiers]]\ntype = "pager"\nname = "night"\n'
KEYS = 'url = "https://pager.example.com/v1"\nrouting_key_file = "pager.key"\nteam = "soc"\n'
Load = Callable[[str], Settings]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install packages with three channels: the documented one, one without settings, and a broken one."""
    assert PAGER is not None
    group = {"oktawatch.channels": "pager = acme_pager:PagerChannel"}
    install(tmp_path, "acme_pager", PAGER[1], **group)
    install(tmp_path, "acme_plain", PLAIN, **{"oktawatch.channels": "plain = acme_plain:PlainChannel"})
    install(
        tmp_path,
        "acme_broken",
        "raise RuntimeError('00secret')",
        **{"oktawatch.channels": "broken = acme_broken:X"},
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for module in ("acme_pager", "acme_plain", "acme_broken", "acme_odd"):
        sys.modules.pop(module, None)


@pytest.fixture
def load(installed: Path) -> Load:
    """Return a function that loads a configuration with the given notifiers."""
    (installed / "pager.key").write_text("invented-routing-key\n", "utf-8")

    def from_text(notifiers: str) -> Settings:
        file = installed / "oktawatch.toml"
        file.write_text(f"{ORG}{notifiers}", "utf-8")
        return config.load(file, environ={})

    return from_text


async def test_a_channel_gets_its_additional_keys(load: Load) -> None:
    """The channel's additional keys are read from the notifier's table, and its secret from a file."""
    async with listening() as receiver:
        settings = load(f'{NOTIFIER}url = "{receiver.url}"\nrouting_key_file = "pager.key"\nteam = "soc"\n')
        (channel,) = Application(settings).channels.values()
        await channel.send(COMPOSER.compose(due()))
        await channel.close()

    (request,) = receiver.received
    assert request.headers["Authorization"] == "Token invented-routing-key"
    assert request.json["team"] == "soc"


def test_the_secrets_of_a_channel_are_masked(load: Load) -> None:
    """A channel's secrets are in no repr and are masked in the log."""
    settings = load(NOTIFIER + KEYS)

    assert "invented-routing-key" not in f"{settings!r} {settings.notifiers}"
    assert {"invented-routing-key", "https://pager.example.com/v1"} <= set(settings.secrets())


async def test_check_tests_the_secret_files_and_the_host_of_a_channel(load: Load, installed: Path) -> None:
    """`check` warns about a secret file that other users can read, and connects to the channel's host."""
    (installed / "pager.key").chmod(0o644)
    async with listening() as receiver:
        settings = load(f'{NOTIFIER}url = "{receiver.url}"\nrouting_key_file = "pager.key"\n')
        found = await check(Application(settings))

    relevant = [finding for finding in found if "pager.key" in finding.message or "night" in finding.about]
    assert [(finding.about, finding.verdict) for finding in relevant] == [
        ("secrets", Verdict.WARNING),
        ("notifier night", Verdict.OK),
    ]
    assert "its host can be reached" in found[-1].message


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (KEYS + "taem = 1\n", "unknown key (: notifiers[night].taem): did you mean team?"),
        (KEYS.replace('"soc"', "3"), "wrong value (: notifiers[night].team): expected text in quotes"),
        (KEYS + 'routing_key = "x"\n', "conflicting keys (: notifiers[night].routing_key): expected"),
        ("", "missing secret (: notifiers[night].url_file): expected url or url_file for type pager"),
        (KEYS.replace("https:", "http:"), "wrong value (: notifiers[night].url): expected an https URL"),
        (KEYS.replace("pager.key", "no.key"), "no secret (: notifiers[night].routing_key_file): expected a readable"),
        (KEYS + "max_per_minute = 0\n", "wrong value (: notifiers[night].max_per_minute): expected at least 1"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_line(load: Load, installed: Path, keys: str, expected: str) -> None:
    """A channel's keys are validated like the built-in ones."""
    with pytest.raises(ConfigError) as caught:
        load(NOTIFIER + keys)

    assert str(caught.value).replace(str(installed / "oktawatch.toml"), "").startswith(expected)


def test_a_channel_without_settings_has_url_and_secret(load: Load) -> None:
    """Without settings, a channel has an optional url and secret, and hides a proxy's password."""
    settings = load('[[notifiers]]\ntype = "plain"\nurl = "plain://host/x"\nsecret = "hunter2hunter2"\n')
    (notifier,) = settings.notifiers
    way = Way(proxy="http://watcher:hunter2@proxy.example.com:3128")
    channel = load_channel(notifier.type)(notifier, way)

    assert vars(channel) == {"settings": notifier, "way": way}
    assert notifier.secret is not None
    assert "hunter2" not in f"{way} {way!r}"
    assert load('[[notifiers]]\ntype = "plain"\n').notifiers[0].url is None


def test_a_channel_that_cannot_be_loaded_is_named(load: Load) -> None:
    """A channel that can't be loaded is named without the text of its exception."""
    with pytest.raises(
        ConfigError, match=r"notifiers\[#1\]\.type\): expected a channel that can be loaded"
    ) as caught:
        load('[[notifiers]]\ntype = "broken"\n')

    assert "acme_broken:X raises RuntimeError" in str(caught.value)
    assert "00secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            PLAIN.replace(", way)", ")").replace(", self.way", ", _"),
            "can be constructed .*: odd raises TypeError",
        ),
        (PLAIN.replace("self.settings,", "1 / 0; self.settings,"), "can be constructed .*: odd raises Zero"),
        (
            PLAIN.replace("self.settings,", "raise OSError(settings.url.get_secret_value());"),
            "odd raises OSError$",
        ),
        (PLAIN.replace("def send", "def deliver"), "with the methods send and close: odd lacks one"),
        (PLAIN.replace("self.settings,", "raise SystemExit; self.settings,"), "odd raises SystemExit$"),
        ("PlainChannel = 3\n", "can be constructed .*: odd raises TypeError"),
    ],
)
def test_a_class_without_the_interface_is_refused(
    load: Load, installed: Path, code: str, expected: str
) -> None:
    """A class that does not follow the interface is a mistake of the type, named without secrets."""
    install(installed, "acme_odd", code, **{"oktawatch.channels": "odd = acme_odd:PlainChannel"})
    settings = load('[[notifiers]]\ntype = "odd"\nurl = "https://h.example.com/secretpath"\n')
    with pytest.raises(
        ConfigError, match=rf"notifiers\[#1\]\.type\): expected a channel .*{expected}"
    ) as caught:
        Application.build(settings)
    assert "secretpath" not in str(caught.value)
    assert caught.value.__context__ is None


SECRET = "raise {}('https://h.example.com/secretpath')"


@pytest.mark.parametrize("error", ["RuntimeError", "SystemExit", "asyncio.CancelledError"])
async def test_a_failed_test_message_is_reported_in_one_line(load: Load, installed: Path, error: str) -> None:
    """`check --send-test` reports whatever a channel raises in one line without its text, and tests the others."""
    code = PLAIN.replace("send(self, message): ...", f"send(self, message): {SECRET.format(error)}")
    code = f"import asyncio\n{code}"
    install(installed, "acme_odd", code, **{"oktawatch.channels": "odd = acme_odd:PlainChannel"})
    settings = load('[[notifiers]]\ntype = "odd"\n[[notifiers]]\ntype = "plain"\n')

    found = {finding.about: finding.message for finding in await check(Application(settings), send_test=True)}

    kind = error.removeprefix("asyncio.")
    assert found["notifier odd"] == f"the test message was not delivered: unexpected {kind}, see the log"
    assert found["notifier plain"] == "it accepted the test message"


async def test_an_exception_in_close_is_only_logged(load: Load, installed: Path) -> None:
    """An exception in `close` is only logged, and the other channels are closed."""
    code = PLAIN.replace("close(self): ...", f"close(self): {SECRET.format('RuntimeError')}")
    install(installed, "acme_odd", code, **{"oktawatch.channels": "odd = acme_odd:PlainChannel"})
    settings = load('[[notifiers]]\ntype = "odd"\n[[notifiers]]\ntype = "plain"\n')

    with capture_logs() as logs:
        found = await check(Application(settings), send_test=True)

    assert [finding.message for finding in found[-2:]] == ["it accepted the test message"] * 2
    assert [(line["event"], line["notifier"]) for line in logs] == [("channel_not_closed", "odd")]


@pytest.mark.parametrize("error", ["RuntimeError", "SystemExit"])
async def test_an_exception_in_a_probe_is_a_failure_of_its_notifier(
    load: Load, installed: Path, error: str
) -> None:
    """An exception in `probe_url` is a failure of its notifier, without its text."""
    assert PAGER is not None
    code = PAGER[1].replace("return self.url", SECRET.format(error))
    install(installed, "acme_odd", code, **{"oktawatch.channels": "odd = acme_odd:PagerChannel"})
    settings = load('[[notifiers]]\ntype = "odd"\nurl = "https://h.example.com/secretpath"\n')

    found = await check(Application(settings))

    assert (found[-1].about, found[-1].verdict) == ("notifier odd", Verdict.FAILED)
    assert found[-1].message == f"the channel's probe_url raises {error}: fix the channel"


@pytest.mark.parametrize("error", ["RuntimeError", "SystemExit"])
def test_an_exception_in_the_settings_is_a_mistake_of_the_type(
    load: Load, installed: Path, error: str
) -> None:
    """An exception in a validator of a channel's settings is a mistake of the type, named without its text."""
    assert PAGER is not None
    code = PAGER[1].replace("self.require_url()", SECRET.format(error))
    install(installed, "acme_odd", code, **{"oktawatch.channels": "odd = acme_odd:PagerChannel"})

    with pytest.raises(
        ConfigError, match=rf"notifiers\[#1\]\.type\): .*its Settings raises {error}$"
    ) as caught:
        load('[[notifiers]]\ntype = "odd"\n')

    assert "secretpath" not in str(caught.value)


def test_an_unknown_type_is_refused_with_the_installed_types(load: Load) -> None:
    """The error about an unknown type lists the installed types."""
    with pytest.raises(ConfigError, match=r"expected apprise or file or log or webhook or .*pager"):
        load('[[notifiers]]\ntype = "mail"\n')


def test_a_missing_channel_is_reported_before_its_keys(load: Load) -> None:
    """If a channel is not installed, its type is the mistake, not its own keys."""
    with pytest.raises(ConfigError, match=r"notifiers\[night\]\.type\): expected apprise or file or log"):
        load(NOTIFIER.replace("pager", "pagre") + KEYS)
