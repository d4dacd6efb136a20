"""A scrubbed recording of a real org contains nothing secret."""

import json
from typing import Any

from vcr.request import Request

from tests.support.scrub import Scrubber

SECRETS = [
    "00secret", "globex", "Jane", "jane", "8.8.4.4", "2606:4700::1111", "Lisbon", "38.7", "1100", "sid=", "00u1abc",
    "hunter2", "Mozilla", "s3ss10n", "Globex Office", "1627500044869", "okta.com",
]  # fmt: skip
EVENT: dict[str, Any] = {
    "uuid": "e1",
    "eventType": "user.session.start",
    "published": "2026-11-24T08:00:00.000Z",
    "actor": {"id": "00u1abc", "alternateId": "jane@globex.com", "displayName": "Jane Doe", "type": "User"},
    "target": [{"alternateId": "jane@globex.com", "displayName": "hunter2"}],
    "client": {
        "ipAddress": "8.8.4.4",
        "zone": "null",
        "userAgent": {"rawUserAgent": "Mozilla/5.0", "os": "Linux"},
        "geographicalContext": {
            "city": "Lisbon",
            "postalCode": "1100",
            "geolocation": {"lat": 38.7, "lon": -9.1},
        },
    },
    "request": {"ipChain": [{"ip": "8.8.4.4", "version": "V4"}, {"ip": "2606:4700::1111", "version": "V6"}]},
    "authenticationContext": {"externalSessionId": "s3ss10n", "issuer": {"id": "x", "type": "Globex Office"}},
    "securityContext": {"isProxy": True, "asNumber": 64496, "asOrg": "globex", "domain": None},
    "debugContext": {
        "debugData": {"requestUri": "https://globex.okta.com/login?user=jane", "changed": "Jane"}
    },
}


def _recorded(scrubber: Scrubber) -> str:
    link = '<https://globex.okta.com/api/v1/logs?after=1627500044869_1&limit=5>; rel="next"'
    event = json.loads(json.dumps(EVENT).replace('"Globex Office"', '"SAML"'))
    request = Request(
        "GET",
        "https://globex.okta.com/api/v1/logs?after=1627500044869_1&limit=5",
        None,
        {
            "Authorization": "SSWS 00secret",
            "User-Agent": "globex",
            "Cookie": "sid=1",
            "Accept": "application/json",
        },
    )
    response = {
        "status": {"code": 200, "message": "OK"},
        "headers": {
            "Set-Cookie": ["sid=1"],
            "link": [link],
            "X-Okta-Request-Id": ["globex1"],
            "P3P": ["00secret"],
        },
        "body": {"string": json.dumps([event]).encode()},
    }
    scrubbed = scrubber.request(request)
    return json.dumps(
        [scrubbed.uri, dict(scrubbed.headers), scrubber.response(response)], default=bytes.decode
    )


def test_tokens_hosts_and_people_are_removed() -> None:
    """Scrubbing removes tokens, hosts and people from headers, URLs and bodies."""
    recorded = _recorded(Scrubber())
    assert [secret for secret in SECRETS if secret in recorded] == []


def test_types_times_and_results_are_kept() -> None:
    """Types, times, results and the equality of people are kept."""
    scrubber = Scrubber()
    scrubbed = json.loads(scrubber.body(json.dumps([EVENT]).encode()))[0]
    for key in ("uuid", "eventType", "published"):
        assert scrubbed[key] == EVENT[key]
    assert scrubbed["securityContext"]["isProxy"] is True
    assert scrubbed["client"]["zone"] == "null"
    assert scrubbed["client"]["ipAddress"] == scrubbed["request"]["ipChain"][0]["ip"] == "203.0.113.1"
    assert scrubbed["request"]["ipChain"][1]["ip"] == "2001:db8::1"
    assert scrubbed["actor"]["alternateId"] == scrubbed["target"][0]["alternateId"] == "person-1@example.com"


def test_a_link_and_its_request_are_scrubbed_alike() -> None:
    """A recording is found by its URL when it is played."""
    uri, _, response = json.loads(_recorded(Scrubber()))
    assert uri == "https://acme.example.com/api/v1/logs?after=cursor-1&limit=5"
    assert response["headers"]["link"] == [f'<{uri}>; rel="next"']


def test_scrubbing_again_changes_nothing() -> None:
    """Requests are scrubbed again when they are looked up."""
    scrubber = Scrubber()
    once = scrubber.request(
        Request("GET", "https://globex.okta.com/api/v1/logs?limit=5&after=x%2C", None, {})
    )
    assert Scrubber().request(once).uri == scrubber.request(once).uri == once.uri


def test_a_body_that_is_not_json_is_removed() -> None:
    """A login page names the company."""
    assert Scrubber().body(b"<html>globex</html>") == b"scrubbed"
    assert Scrubber().body(b"") == b""


def test_a_token_request_keeps_its_shape_without_its_secrets() -> None:
    """A scrubbed token request keeps its shape, with invented secrets and Okta's own description."""
    form = {"grant_type": "client_credentials", "scope": "okta.logs.read", "client_assertion": "eyJ.00secret"}
    uri = "https://globex.okta.com/oauth2/v1/token"
    scrubber = Scrubber()
    request = scrubber.request(Request("POST", uri, form, {"DPoP": "00secret", "Accept": "application/json"}))
    assert request.body == form | {"client_assertion": "client_assertion-1"}
    assert request.headers == {"Accept": "application/json"}
    granted = {
        "token_type": "DPoP",
        "expires_in": 3600,
        "access_token": "00secret",
        "scope": "okta.logs.read",
    }
    response = scrubber.response(
        {"headers": {"dpop-nonce": ["00secret"]}, "body": {"string": json.dumps(granted).encode()}}
    )
    assert response["headers"] == {"dpop-nonce": ["nonce-1"]}
    assert json.loads(response["body"]["string"]) == granted | {"access_token": "text-1"}


def test_a_request_body_that_is_not_a_form_is_removed() -> None:
    """A request body that is not a form is removed."""
    assert Scrubber().request(Request("POST", "https://globex.okta.com/", b"00secret", {})).body is None
