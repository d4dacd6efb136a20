"""The org's own authorization server: service apps trade an assertion that they signed for an access token.

    org.oauth.register(ServiceApp("0oa…", keys=[{"kty": "RSA", "kid": "k1", …}]))

Okta: client_credentials on `/oauth2/v1/token` with private_key_jwt and nothing else. Errors have OAuth's shape,
`{error, error_description}`. An assertion is used up by each request that it comes with, answered well or not.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .dpop import Proof, ProofChecker, ProofError
from .errors import OAuthError
from .jose import JoseError, Once, Signed, peek, verify

TOKEN = "/oauth2/v1/token"  # noqa: S105 - a path
READ_LOGS = "okta.logs.read"
LONGEST_ASSERTION = 3600
"""Seconds that an assertion may have left. Okta: one hour."""

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass
class ServiceApp:
    """An app without people, and what the org's admins have given it. May change while the org is served."""

    client_id: str
    keys: Sequence[Mapping[str, Any]]
    """Its public keys as JWKs, each with a `kid`."""
    scopes: frozenset[str] = frozenset({READ_LOGS})
    """What it is granted."""
    dpop: bool = False
    """Its tokens must be bound to a key. (They can be at any rate.)"""
    may_read: bool = True
    """It has an admin role that may read the System Log."""
    lifetime: timedelta = timedelta(hours=1)
    """Of its access tokens."""


@dataclass(frozen=True)
class Grant:
    """What an access token stands for."""

    app: ServiceApp
    scopes: frozenset[str]
    expires: float
    """Epoch seconds."""
    key: str | None
    """The thumbprint of the key that it is bound to; None for a bearer token."""


class AuthorizationServer:
    """Service apps and their access tokens. `now` is the org's clock, in epoch seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.apps: dict[str, ServiceApp] = {}
        self.proofs = ProofChecker(now)
        self._now = now
        self._grants: dict[str, Grant] = {}
        self._used = Once()

    def register(self, app: ServiceApp) -> None:
        """Let an app in."""
        self.apps[app.client_id] = app

    def revoke(self) -> None:
        """Take back all access tokens."""
        self._grants.clear()

    def grant(self, token: str) -> Grant | None:
        """Return what a token stands for; None when it is unknown, revoked or expired."""
        found = self._grants.get(token)
        return None if found is None or found.expires <= self._now() else found

    def issue(self, form: Mapping[str, str], proof: Proof) -> dict[str, Any]:
        """Answer a token request with the body that carries a token. Raises OAuthError."""
        if form.get("grant_type") != "client_credentials":
            raise OAuthError(400, "unsupported_grant_type", "The grant type is not client_credentials.")
        app = self._authenticate(form, audience=proof.url)
        key = self._key(app, proof)
        scopes = frozenset(form.get("scope", "").split())
        if not scopes or not scopes <= app.scopes:
            raise OAuthError(
                400,
                "invalid_scope",
                "One or more scopes are not configured for the authorization server resource.",
            )
        token = secrets.token_urlsafe(48)
        lifetime = int(app.lifetime.total_seconds())
        self._grants = {kept: grant for kept, grant in self._grants.items() if grant.expires > self._now()}
        self._grants[token] = Grant(app, scopes, self._now() + lifetime, key)
        return {
            "token_type": "Bearer" if key is None else "DPoP",
            "expires_in": lifetime,
            "access_token": token,
            "scope": " ".join(sorted(scopes)),
        }

    def _key(self, app: ServiceApp, proof: Proof) -> str | None:
        """Return the key that a token is to be bound to."""
        if proof.token is None and not app.dpop:
            return None
        try:
            return self.proofs.check(proof)
        except ProofError as error:
            nonce = {"dpop-nonce": self.proofs.nonce} if error.code == "use_dpop_nonce" else {}
            raise OAuthError(400, error.code, str(error), headers=nonce) from None

    def _authenticate(self, form: Mapping[str, str], audience: str) -> ServiceApp:
        if form.get("client_assertion_type") != _ASSERTION_TYPE or "client_assertion" not in form:
            raise _stranger(
                "Client Credentials requests to the Org Authorization Server must use the private_key_jwt "
                "token_endpoint_auth_method."
            )
        assertion = form["client_assertion"]
        try:
            told = peek(assertion)
            app = self.apps.get(told.text("sub") or "")
            if app is None:
                raise _stranger(
                    "Client authentication failed. Either the client or the client credentials are invalid."
                )
            signed = verify(assertion, _key_of(app, told.header.get("kid")))
        except JoseError:
            raise _stranger("The client_assertion signature is invalid.") from None
        self._check(signed, app, audience)
        return app

    def _check(self, signed: Signed, app: ServiceApp, audience: str) -> None:
        now = self._now()
        expires, token_id = signed.seconds("exp"), signed.text("jti")
        if signed.text("iss") != app.client_id or signed.text("sub") != app.client_id:
            raise _stranger("The issuer and the subject of client_assertion must be the client.")
        if signed.claims.get("aud") != audience:
            raise _stranger(
                "The audience claim for client_assertion must be the endpoint invoked for the request."
            )
        if expires is None or expires <= now:
            raise _stranger("The client_assertion token is expired.")
        if expires > now + LONGEST_ASSERTION:
            raise _stranger("The client_assertion token has an expiration too far into the future.")
        if token_id is not None and not self._used.use(f"{app.client_id} {token_id}", expires, now):
            raise _stranger("The client_assertion token has already been used.")


def _key_of(app: ServiceApp, kid: object) -> Mapping[str, Any]:
    """Return the key that an assertion names; an app's only key needs no name."""
    named = [key for key in app.keys if key.get("kid") == kid or (kid is None and len(app.keys) == 1)]
    if not named:
        raise _stranger("The client_assertion JWT kid is invalid.")
    return named[0]


def _stranger(description: str) -> OAuthError:
    return OAuthError(401, "invalid_client", description)
