"""The org authorization server: it issues access tokens to service apps in exchange for signed assertions.

    org.oauth.register(ServiceApp("0oa…", keys=[{"kty": "RSA", "kid": "k1", …}]))

As on Okta, `/oauth2/v1/token` supports only client_credentials with private_key_jwt, and errors have OAuth's
format, `{error, error_description}`. A request consumes a valid assertion that has an id, even if the request is then
refused for another reason.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .dpop import Proof, ProofChecker, ProofError
from .errors import OAuthError
from .jose import JoseError, Signed, SingleUseIds, peek, verify

TOKEN = "/oauth2/v1/token"  # noqa: S105 -- a path
READ_LOGS = "okta.logs.read"
LONGEST_ASSERTION = 3600
"""The longest accepted lifetime of an assertion, in seconds."""

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass
class ServiceApp:
    """A service app and its permissions. It can change while the org is served."""

    client_id: str
    keys: Sequence[Mapping[str, Any]]
    """Public keys as JWKs, each with a `kid`."""
    scopes: frozenset[str] = frozenset({READ_LOGS})
    """Granted scopes."""
    dpop: bool = False
    """Whether its access tokens must be bound to a key. If not, binding is optional."""
    can_read_logs: bool = True
    """Whether it has an admin role that can read the System Log."""
    lifetime: timedelta = timedelta(hours=1)
    """Lifetime of its access tokens."""


@dataclass(frozen=True)
class Grant:
    """The permissions of an access token."""

    app: ServiceApp
    scopes: frozenset[str]
    expires: float
    """Epoch seconds."""
    key: str | None
    """Thumbprint of the key to which the token is bound. None for a bearer token."""


class AuthorizationServer:
    """Service apps and their access tokens. `now` is the org's clock, in epoch seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.apps: dict[str, ServiceApp] = {}
        self.proofs = ProofChecker(now)
        self._now = now
        self._grants: dict[str, Grant] = {}
        self._used = SingleUseIds()

    def register(self, app: ServiceApp) -> None:
        """Register a service app."""
        self.apps[app.client_id] = app

    def revoke(self) -> None:
        """Revoke all access tokens."""
        self._grants.clear()

    def grant(self, token: str) -> Grant | None:
        """Return the grant of an access token. None if it is unknown, revoked or expired."""
        grant = self._grants.get(token)
        return None if grant is None or grant.expires <= self._now() else grant

    def issue(self, form: Mapping[str, str], proof: Proof) -> dict[str, Any]:
        """Return the body of the answer to a token request. Raises OAuthError."""
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
        """Return the thumbprint of the key to which the new token is bound. None for a bearer token."""
        if proof.token is None and not app.dpop:
            return None
        try:
            return self.proofs.check(proof)
        except ProofError as error:
            nonce = {"dpop-nonce": self.proofs.nonce} if error.code == "use_dpop_nonce" else {}
            raise OAuthError(400, error.code, str(error), headers=nonce) from None

    def _authenticate(self, form: Mapping[str, str], audience: str) -> ServiceApp:
        if form.get("client_assertion_type") != _ASSERTION_TYPE or "client_assertion" not in form:
            raise _invalid_client(
                "Client Credentials requests to the Org Authorization Server must use the private_key_jwt "
                "token_endpoint_auth_method."
            )
        assertion = form["client_assertion"]
        try:
            unverified = peek(assertion)
            app = self.apps.get(unverified.text("sub") or "")
            if app is None:
                raise _invalid_client(
                    "Client authentication failed. Either the client or the client credentials are invalid."
                )
            signed = verify(assertion, _key_of(app, unverified.header.get("kid")))
        except JoseError:
            raise _invalid_client("The client_assertion signature is invalid.") from None
        self._check(signed, app, audience)
        return app

    def _check(self, signed: Signed, app: ServiceApp, audience: str) -> None:
        now = self._now()
        expires, token_id = signed.seconds("exp"), signed.text("jti")
        if signed.text("iss") != app.client_id or signed.text("sub") != app.client_id:
            raise _invalid_client("The issuer and the subject of client_assertion must be the client.")
        if signed.claims.get("aud") != audience:
            raise _invalid_client(
                "The audience claim for client_assertion must be the endpoint invoked for the request."
            )
        if expires is None or expires <= now:
            raise _invalid_client("The client_assertion token is expired.")
        if expires > now + LONGEST_ASSERTION:
            raise _invalid_client("The client_assertion token has an expiration too far into the future.")
        if token_id is not None and not self._used.use(f"{app.client_id} {token_id}", expires, now):
            raise _invalid_client("The client_assertion token has already been used.")


def _key_of(app: ServiceApp, kid: object) -> Mapping[str, Any]:
    """Return the app's key with the given `kid`. The `kid` is optional if the app has a single key."""
    named = [key for key in app.keys if key.get("kid") == kid or (kid is None and len(app.keys) == 1)]
    if not named:
        raise _invalid_client("The client_assertion JWT kid is invalid.")
    return named[0]


def _invalid_client(description: str) -> OAuthError:
    return OAuthError(401, "invalid_client", description)
