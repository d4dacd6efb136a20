"""System Log events of sign-ins, with the fields that Okta writes.

All values in `debugData` are strings. Some contain JSON (`tunnels`, `logOnlySecurityData`), others the string form of
a Java map (`risk`, `behaviors`).
"""

import json
import random
from dataclasses import dataclass, field
from typing import Any

from . import ids, times
from .people import City, Device, Network, Person

_BEHAVIORS = ("New Geo-Location", "New Device", "New IP", "New State", "New Country", "Velocity", "New City")

BLOCKED = "security.request.blocked"
"""The event type of a request that a network zone denied before the sign-in."""

_MESSAGES = {
    "user.session.start": ("User login to Okta", "core.user_auth.login_success"),
    "user.session.end": ("User logout from Okta", "core.user_auth.logout_success"),
    "user.authentication.auth_via_mfa": (
        "Authentication of user via MFA",
        "core.user.factor.attempt_success",
    ),
    "user.authentication.sso": ("User single sign on to app", "app.auth.sso"),
    "policy.evaluate_sign_on": ("Evaluation of sign-on policy", None),
    "user.account.privilege.grant": ("Grant user privilege", "core.user.admin_privilege.granted"),
    "user.mfa.factor.reset_all": ("Reset all factors for user", "core.user.factor.reset_all"),
    BLOCKED: ("Request blocked", None),
}
_URIS = {
    "user.session.start": "/idp/idx/identify",
    "user.session.end": "/login/signout",
    "user.authentication.auth_via_mfa": "/idp/idx/challenge/answer",
    "user.authentication.sso": "/app/example_app/sso/saml",
    "policy.evaluate_sign_on": "/idp/idx/identify",
    "user.account.privilege.grant": "/api/internal/administrators",
    "user.mfa.factor.reset_all": "/api/internal/users/factors/reset",
    BLOCKED: "/oauth2/v1/authorize",
}


@dataclass(frozen=True)
class Visit:
    """A person with a device in a place: the fields that all events of a session share."""

    login: str
    """The user name as typed."""

    person: Person | None
    """None if the login doesn't exist. Okta then writes `unknown` as the actor's id."""

    device: Device
    city: City
    network: Network
    ip: str
    session: str
    risk: str = "LOW"
    reasons: tuple[str, ...] = ()
    new: frozenset[str] = frozenset()
    """The behaviors with the result POSITIVE, such as `New Device`."""


@dataclass(frozen=True)
class Action:
    """An action during a visit."""

    type: str
    result: str = "SUCCESS"
    reason: str | None = None
    target: tuple[dict[str, Any], ...] = field(default=())


def event(rng: random.Random, visit: Visit, action: Action, published: int) -> dict[str, Any]:
    """Return the event of an action, published at a time in milliseconds."""
    request = ids.request_id(rng)
    message, legacy = _MESSAGES[action.type]
    if action.type == "user.session.start" and action.result == "FAILURE":
        legacy = "core.user_auth.login_failed"
    geography = _geography(visit.city)
    return {
        "actor": _actor(visit),
        "client": {
            "userAgent": {
                "rawUserAgent": visit.device.user_agent,
                "os": visit.device.os,
                "browser": visit.device.browser,
            },
            "zone": "null",
            "device": visit.device.kind,
            "id": None,
            "ipAddress": visit.ip,
            "geographicalContext": geography,
        },
        "device": None,
        "authenticationContext": _authentication(visit, action),
        "displayMessage": message,
        "eventType": action.type,
        "outcome": {"result": action.result, "reason": action.reason},
        "published": times.to_text(published),
        "securityContext": _security(visit),
        "severity": "WARN" if action.result in {"FAILURE", "DENY"} else "INFO",
        "debugContext": {"debugData": _debug(visit, action, request)},
        "legacyEventType": legacy,
        "transaction": {"type": "WEB", "id": request, "detail": {}},
        "uuid": ids.event_uuid(published, rng.getrandbits(75)),
        "version": "0",
        "request": {
            "ipChain": [
                {
                    "ip": visit.ip,
                    "geographicalContext": geography,
                    "version": "V6" if ":" in visit.ip else "V4",
                    "source": None,
                    "ipDetails": _ip_details(visit.network),
                }
            ]
        },
        "target": list(action.target) or None,
    }


def app(rng: random.Random, name: str) -> dict[str, Any]:
    """Return an app as the target of a single sign-on."""
    return _target(ids.object_id(rng, "0oa"), "AppInstance", name, name)


def factor(person: Person) -> dict[str, Any]:
    """Return a person's authenticator as the target of an MFA verification."""
    return _target(person.factor_id, "AuthenticatorEnrollment", "unknown", "Okta Verify")


def user(person: Person) -> dict[str, Any]:
    """Return a person as the target of an administrator's action."""
    return _target(person.id, "User", person.login, person.name)


def policy(rng: random.Random) -> dict[str, Any]:
    """Return a sign-on policy as the target of a policy evaluation."""
    return _target(ids.object_id(rng, "00p"), "PolicyEntity", "unknown", "Default Policy")


def _target(target_id: str, kind: str, alternate_id: str, name: str) -> dict[str, Any]:
    return {
        "id": target_id,
        "type": kind,
        "alternateId": alternate_id,
        "displayName": name,
        "detailEntry": None,
    }


def _actor(visit: Visit) -> dict[str, Any]:
    person = visit.person
    return {
        "id": person.id if person else "unknown",
        "type": "User",
        "alternateId": visit.login,
        "displayName": person.name if person else "unknown",
        "detailEntry": None,
    }


def _authentication(visit: Visit, action: Action) -> dict[str, Any]:
    session = "unknown" if action.result == "FAILURE" or action.type == BLOCKED else visit.session
    return {
        "authenticationProvider": None,
        "credentialProvider": "OKTA_CREDENTIAL_PROVIDER" if action.type.endswith("mfa") else None,
        "credentialType": "OTP" if action.type.endswith("mfa") else None,
        "issuer": None,
        "interface": None,
        "authenticationStep": 0,
        "rootSessionId": session,
        "externalSessionId": session,
    }


def _security(visit: Visit) -> dict[str, Any]:
    network = visit.network
    return {
        "asNumber": network.as_number,
        "asOrg": network.as_org,
        "isp": network.isp,
        "domain": network.domain,
        "isProxy": None if network.as_number is None else network.exit is not None and network.exit.anonymous,
        "ipDetails": _ip_details(network),
        "risk": {"level": visit.risk, "reasons": list(visit.reasons), "detectionName": None},
        "userBehaviors": [
            {"id": f"behavior-{index}", "name": name, "result": _behavior_result(visit, name)}
            for index, name in enumerate(_BEHAVIORS, start=1)
        ],
    }


def _ip_details(network: Network) -> dict[str, Any] | None:
    if network.as_number is None:
        return None
    exit_ = network.exit
    return {
        "asNumber": network.as_number,
        "asOrg": network.as_org,
        "isp": network.isp,
        "domain": network.domain,
        "ipServiceCategories": []
        if exit_ is None
        else [{"isAnonymous": exit_.anonymous, "operator": exit_.operator, "type": exit_.type}],
    }


def _geography(city: City) -> dict[str, Any]:
    return {
        "city": city.name,
        "state": city.state,
        "country": city.country,
        "postalCode": city.postal_code,
        "geolocation": {"lat": city.lat, "lon": city.lon},
    }


def _debug(visit: Visit, action: Action, request: str) -> dict[str, str]:
    behaviors = {name: _behavior_result(visit, name) for name in _BEHAVIORS}
    risk = {"reasons": ", ".join(visit.reasons)} if visit.reasons else {}
    risk["level"] = visit.risk
    data = {
        "requestId": request,
        "dtHash": visit.device.token_hash,
        "risk": _java_map(risk),
        "behaviors": _java_map(behaviors),
        "requestUri": _URIS[action.type],
        "url": _URIS[action.type] + "?",
        "threatSuspected": "true" if visit.risk == "HIGH" else "false",
    }
    if action.type in {"user.session.start", "policy.evaluate_sign_on"}:
        data["logOnlySecurityData"] = _json({"risk": risk, "behaviors": behaviors})
    if visit.network.exit is not None:
        exit_ = visit.network.exit
        data["tunnels"] = _json(
            [{"anonymous": exit_.anonymous, "operator": exit_.operator, "type": exit_.type}]
        )
        if exit_.type == "Tor":
            data["proxyType"] = "tor"
    return data


def _behavior_result(visit: Visit, behavior: str) -> str:
    return "POSITIVE" if behavior in visit.new else "NEGATIVE"


def _java_map(values: dict[str, str]) -> str:
    return "{" + ", ".join(f"{key}={value}" for key, value in values.items()) + "}"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
