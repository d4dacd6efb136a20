"""A token that was renewed in its file is used once Okta refuses the old one."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from oktawatch import config
from oktawatch.service.app import Application
from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.budget import RateBudget
from oktawatch.systemlog.credential_refresh import OrgSource
from oktawatch.systemlog.errors import TokenRefusedError
from oktawatch.systemlog.page import Page
from oktawatch.systemlog.priority import PagesAt, Priority

QUERY = "/api/v1/logs?limit=1000"
PAGE = Page.read(b"[]", query=QUERY, url="https://acme.okta.com", links=[], date=None)


class Okta:
    """A simulated Okta that accepts one token and records the requests."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.asked: list[str] = []
        self.priorities: list[Priority] = []
        self.budgets: list[RateBudget] = []

    def connect(self, access: OrgAccess, *, budget: RateBudget) -> "Client":
        """Build a client with these credentials."""
        self.budgets.append(budget)
        return Client(self, access.token)


class Client:
    """A client that sends requests with one token."""

    def __init__(self, okta: Okta, token: str) -> None:
        self._okta = okta
        self._token = token

    async def page(self, query: str, priority: Priority = Priority.POLL) -> Page:
        """Send the request."""
        assert query == QUERY
        self._okta.priorities.append(priority)
        self._okta.asked.append(self._token)
        if self._token != self._okta.token:
            raise TokenRefusedError("Okta refuses the token")
        return PAGE


@pytest.fixture
def source(tmp_path: Path) -> Callable[[Okta], OrgSource]:
    """Return a function that builds a source. Its token is in ``acme.token``, and ``00first`` at the start."""

    def make(okta: Okta) -> OrgSource:
        (tmp_path / "acme.token").write_text("00first", "utf-8")
        file = tmp_path / "oktawatch.toml"
        file.write_text(
            '[[orgs]]\nname = "acme"\nurl = "https://acme.okta.com"\ntoken_file = "acme.token"\n', "utf-8"
        )
        settings = config.load(file, environ={})
        app = Application(settings)
        return OrgSource(
            app.access("acme"),
            okta.connect,
            renew=partial(app.access, "acme", renewed=True),
            budget=RateBudget(app.rate_limit_share),
        )

    return make


async def test_a_token_that_works_is_kept(source: Callable[[Okta], OrgSource], tmp_path: Path) -> None:
    """A token that Okta accepts is kept, even if its file contains another one."""
    okta = Okta("00first")
    pages = source(okta)
    (tmp_path / "acme.token").write_text("00second", "utf-8")

    assert await pages.page(QUERY) is PAGE

    assert okta.asked == ["00first"]


async def test_a_renewed_token_is_used(source: Callable[[Okta], OrgSource], tmp_path: Path) -> None:
    """The refused request is sent again with the token that is in the file, and the next ones too."""
    okta = Okta("00second")
    pages = source(okta)
    (tmp_path / "acme.token").write_text("00second", "utf-8")

    with capture_logs() as logs:
        assert await pages.page(QUERY) is PAGE
        await pages.page(QUERY)

    assert okta.asked == ["00first", "00second", "00second"]
    assert [(line["event"], line["org"]) for line in logs] == [("token_renewed", "acme")]
    assert "00second" not in str(logs)


async def test_a_request_is_not_repeated_with_the_same_token(source: Callable[[Okta], OrgSource]) -> None:
    """A request is not repeated with the same token."""
    okta = Okta("00second")
    pages = source(okta)

    with pytest.raises(TokenRefusedError):
        await pages.page(QUERY)

    assert okta.asked == ["00first"]


async def test_a_missing_token_file_keeps_oktas_refusal(
    source: Callable[[Okta], OrgSource], tmp_path: Path
) -> None:
    """If the token file is missing, Okta's refusal is the reported error."""
    pages = source(Okta("00second"))
    (tmp_path / "acme.token").unlink()

    with pytest.raises(TokenRefusedError):
        await pages.page(QUERY)


async def test_a_renewed_token_has_the_same_budget(
    source: Callable[[Okta], OrgSource], tmp_path: Path
) -> None:
    """A renewed token shares the org's rate budget."""
    okta = Okta("00second")
    pages = source(okta)
    (tmp_path / "acme.token").write_text("00second", "utf-8")

    await PagesAt(pages, Priority.SWEEP).page(QUERY)
    await pages.page(QUERY)

    assert okta.budgets == [pages.budget, pages.budget]
    assert okta.priorities == [Priority.SWEEP, Priority.SWEEP, Priority.POLL]
