"""Every error is one line for people: what happened, where, and how to fix it; never the token."""

import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.systemlog import errors
from oktawatch.systemlog.access import OrgAccess, ServiceApp
from oktawatch.systemlog.errors import SystemLogError, quoted
from oktawatch.systemlog.http_errors import failure, refusal, unreadable
from tests.support.shared import shared_data

TOKEN = "00invented-token-of-nobody"
ORG = OrgAccess("acme", "https://acme.okta.com", TOKEN)
HEADERS = {"X-Okta-Request-Id": "abc123", "Date": "Tue, 24 Nov 2026 08:01:00 GMT"}


def _okta(code: str, summary: str, **more: Any) -> str:
    return json.dumps(
        {"errorCode": code, "errorSummary": summary, "errorLink": code, "errorId": "oae1", **more}
    )


@pytest.mark.parametrize(
    ("status", "body", "kind", "advice"),
    [
        (400, _okta("E0000031", "Invalid search criteria."), errors.RequestRefusedError, "filter"),
        (400, _okta("E0000029", "Invalid paging request."), errors.RequestRefusedError, "filter"),
        (
            401,
            _okta("E0000011", "Invalid token provided"),
            errors.TokenRefusedError,
            "Security > API > Tokens",
        ),
        (403, _okta("E0000006", "You do not have permission"), errors.PermissionMissingError, "admin role"),
        (404, _okta("E0000007", "Not found: Resource not found"), errors.WrongHostError, "url"),
        (429, _okta("E0000047", "API call exceeded rate limit"), errors.RateLimitedError, "other clients"),
        (500, _okta("E0000009", "Internal Server Error"), errors.UnavailableError, "retried"),
        (502, "<html>Bad Gateway</html>", errors.UnavailableError, "retried"),
        (503, _okta("E0000010", "Service is in read only mode"), errors.UnavailableError, "retried"),
        (408, "", errors.UnavailableError, "retried"),
        (301, "", errors.BrokenTransferError, "portal or proxy"),
        (204, "", errors.BrokenTransferError, "portal or proxy"),
        (418, "", errors.RequestRefusedError, "url"),
        (999, "", errors.UnavailableError, "retried"),
    ],
)
def test_the_status_selects_the_error(
    status: int, body: str, kind: type[SystemLogError], advice: str
) -> None:
    """The status selects the error, whose line contains Okta's code and advice."""
    error = refusal(ORG, status, HEADERS, body)
    assert type(error) is kind
    text = str(error)
    assert f"(acme, https://acme.okta.com, HTTP {status}" in text
    assert advice in text.partition("): ")[2]
    assert (error.status, error.request_id) == (status, "abc123")
    assert error.date is not None
    if body.startswith("{"):
        assert error.error_code == json.loads(body)["errorCode"]
        assert f", {error.error_code}, " in text
        assert json.loads(body)["errorSummary"] in text


def test_reasons_are_short_and_unique() -> None:
    """The reasons of errors are short and unique, because they are labels of metrics."""
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SystemLogError)
    ]
    reasons = [kind.reason for kind in kinds]
    assert len(set(reasons)) == len(reasons) == 10
    assert all(reason.replace("_", "").islower() for reason in reasons)


def test_an_error_has_oktas_first_cause() -> None:
    """The error has Okta's first cause beside its summary."""
    body = _okta(
        "E0000001", "Api validation failed", errorCauses=[{"errorSummary": "since: bad date"}, {}, 1]
    )
    assert '"Api validation failed: since: bad date"' in str(refusal(ORG, 400, {}, body))


def test_a_redirect_error_names_its_target() -> None:
    """The error about a redirect names its target."""
    error = refusal(ORG, 302, {"Location": "https://portal.example.com/login"}, "")
    assert "https://portal.example.com/login" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        "7",
        "{",
        "[" * 100_000,
        json.dumps({"errorCode": 7, "errorSummary": None, "errorCauses": 3}),
        json.dumps({"errorCode": {}, "errorSummary": ["x"], "errorCauses": [None, {"errorSummary": {}}]}),
    ],
)
def test_any_error_body_results_in_an_error(body: str) -> None:
    """An error body whose parts are missing or have another type still results in an error."""
    error = refusal(ORG, 400, {}, body)
    assert (error.error_code, error.request_id, error.date) == (None, None, None)
    assert "(acme, https://acme.okta.com, HTTP 400): " in str(error)


def test_no_error_contains_the_token() -> None:
    """No error contains the token, even if a server or a proxy echoes the request."""
    echo = f"Authorization: SSWS {TOKEN}"
    shown = [
        refusal(
            ORG, 401, {"X-Okta-Request-Id": echo}, _okta(TOKEN, echo, errorCauses=[{"errorSummary": TOKEN}])
        ),
        refusal(ORG, 302, {"Location": f"https://portal.example.com/?t={TOKEN}"}, ""),
        unreadable(ORG, {"Content-Type": TOKEN, "X-Okta-Request-Id": TOKEN}, ValueError(echo)),
        failure(ORG, ValueError(echo), 45),
        failure(ORG, aiohttp.ClientPayloadError(echo), 45),
        failure(ORG, aiohttp.ClientConnectionError(echo), 45),
    ]
    for error in shown:
        assert TOKEN not in f"{error} {error!r} {vars(error)}"
    assert TOKEN not in repr(ORG)


def test_control_characters_are_removed_from_quotes() -> None:
    """Escape codes, line breaks and right-to-left marks of a server are removed from quotes."""
    assert quoted("a\x1b[31mb\r\nc\u202ed\x00e\u2028f", hide=()) == "a [31mb c d e f"
    assert quoted("x" * 10_000, hide=()) == "x" * 200 + "…"


@given(st.text(st.characters(exclude_categories=()), max_size=300), st.text("ab", min_size=1, max_size=3))
def test_any_text_is_quoted_in_one_short_line(text: str, secret: str) -> None:
    """Any text is quoted in one short line without the secret."""
    shown = quoted(text, hide=[secret])
    assert len(shown) <= 201
    assert shown.isprintable() or not any(ord(c) < 32 or 0x7F <= ord(c) <= 0x9F for c in shown)
    assert secret not in shown.replace("[token]", "") or secret in "[token]"
    shown.encode()


@pytest.mark.parametrize(
    ("error", "kind", "expected"),
    [
        (TimeoutError(), errors.TimedOutError, "no answer within 45 s"),
        (aiohttp.ServerTimeoutError(), errors.TimedOutError, "no answer within 45 s"),
        (aiohttp.ServerDisconnectedError(), errors.UnavailableError, "can't be reached"),
        (ConnectionResetError("reset"), errors.UnavailableError, "can't be reached"),
        (aiohttp.ClientPayloadError("cut"), errors.BrokenTransferError, "incomplete or malformed"),
        (aiohttp.InvalidURL("http://["), errors.BrokenTransferError, "incomplete or malformed"),
        (ValueError(), errors.BrokenTransferError, "ValueError"),
        (MemoryError(), errors.BrokenTransferError, "MemoryError"),
    ],
)
def test_each_failure_without_an_answer_has_its_own_error(
    error: Exception, kind: type[SystemLogError], expected: str
) -> None:
    """Each failure without an answer has the matching error and advice."""
    described = failure(ORG, error, 45)
    assert type(described) is kind
    assert expected in str(described)
    assert "acme, https://acme.okta.com" in str(described)


@pytest.mark.parametrize("token", ["", " ", "00abc def", "00abc\n", "00\u00e9", "00\x00"])
def test_a_token_that_is_invalid_in_a_header_is_not_quoted(token: str) -> None:
    """A token that is invalid in a header raises an error with the org's name, without quoting it."""
    with pytest.raises(ValueError, match="the token of org acme") as caught:
        OrgAccess("acme", "https://acme.okta.com", token)
    assert not token.strip() or token.strip() not in str(caught.value)


def test_a_slash_at_the_end_of_the_url_is_removed() -> None:
    """A slash at the end of the org's URL is removed, because Okta refuses a double slash."""
    assert OrgAccess("acme", "https://acme.okta.com/", TOKEN).url == "https://acme.okta.com"


def test_no_error_contains_an_assertion_proof_or_access_token() -> None:
    """No error contains an assertion, proof or access token that a server echoes."""
    signed = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIwb2EifQ.c2lnbmF0dXJl"
    assert quoted(f"Authorization: DPoP {signed}, again", hide=()) == "Authorization: DPoP [token], again"


@pytest.mark.parametrize(
    ("status", "headers", "kind", "advice"),
    [
        (401, {}, errors.TokenRefusedError, "dpop is not false"),
        (403, {}, errors.PermissionMissingError, "okta.logs.read"),
        (400, {"WWW-Authenticate": 'DPoP error="invalid_dpop_proof"'}, errors.TokenRefusedError, "dpop"),
        (400, {}, errors.RequestRefusedError, "filter"),
        (404, {}, errors.WrongHostError, "url"),
    ],
)
def test_the_errors_of_a_service_app_have_specific_advice(
    status: int, headers: dict[str, str], kind: type[SystemLogError], advice: str
) -> None:
    """A service app's errors have specific advice, and a refused DPoP proof is not taken for a refused cursor."""
    org = OrgAccess("acme", "https://acme.okta.com", app=ServiceApp("0oa", "pem"))
    error = refusal(org, status, headers, "")
    assert type(error) is kind
    assert advice in str(error).partition("): ")[2]


def _recorded_refusals() -> Iterator[tuple[int, str]]:
    for path in sorted(shared_data("okta-sdk-cassettes").glob("*.yaml")):
        for interaction in yaml.safe_load(path.read_text())["interactions"]:
            response = interaction["response"]
            if response["status"]["code"] >= 400:
                yield response["status"]["code"], response["body"]["string"]


def test_recorded_refusals_raise_the_matching_errors() -> None:
    """Recorded refusals of real orgs (429, a bad filter, a refused cursor) raise the matching errors."""
    refusals = {
        (error.status, error.error_code): error
        for error in (refusal(ORG, *(s, {}, b)) for s, b in _recorded_refusals())
    }
    assert type(refusals[429, "E0000047"]) is errors.RateLimitedError
    assert type(refusals[400, "E0000029"]) is errors.RequestRefusedError
    assert "Invalid paging request." in str(refusals[400, "E0000029"])
    assert "Api validation failed" in str(refusals[400, "E0000001"])
