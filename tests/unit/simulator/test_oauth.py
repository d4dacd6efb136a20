"""The access tokens of the simulated org: who gets one, and what it permits."""

from datetime import timedelta
from typing import Any

import jwt
import pytest

from oktawatch.simulator import ServiceApp, SimulatedOrg
from oktawatch.simulator.auth import authorize
from oktawatch.simulator.dpop import Proof
from oktawatch.simulator.errors import OAuthError, OktaError
from oktawatch.simulator.jose import SingleUseIds, thumbprint
from tests.support.logclient import NOW, Clock
from tests.support.signing import CLIENT, SECONDS, Signer

URL = "http://127.0.0.1:8080/oauth2/v1/token"
LOGS = "http://127.0.0.1:8080/api/v1/logs"
PLAIN = Proof(None, "POST", URL)


@pytest.fixture
def clock() -> Clock:
    """Return the org's clock."""
    return Clock()


@pytest.fixture
def signer() -> Signer:
    """Return the signer of the app's assertions and proofs."""
    return Signer()


@pytest.fixture
def app(signer: Signer) -> ServiceApp:
    """Return an app with all permissions."""
    return ServiceApp(CLIENT, keys=[signer.public])


@pytest.fixture
def org(clock: Clock, app: ServiceApp) -> SimulatedOrg:
    """Return an org with the app."""
    org = SimulatedOrg(now=clock)
    org.oauth.register(app)
    return org


def refused(org: SimulatedOrg, form: dict[str, str], proof: Proof = PLAIN) -> tuple[int, str, str]:
    """Return the status, code and description with which a token request is refused."""
    with pytest.raises(OAuthError) as refusal:
        org.oauth.issue(form, proof)
    return refusal.value.status, refusal.value.code, refusal.value.summary


def token(org: SimulatedOrg, form: dict[str, str], proof: Proof = PLAIN) -> str:
    """Return the access token of a good request."""
    issued = org.oauth.issue(form, proof)["access_token"]
    assert isinstance(issued, str)
    return issued


def call(org: SimulatedOrg, header: str, proof: str | None = None) -> tuple[int, str]:
    """Return the status and code of the answer to an API call, 200 if it is authorized."""
    try:
        authorize(org, header, Proof(proof, "GET", LOGS))
    except OktaError as error:
        return error.status, error.code
    return 200, ""


def proof_with_nonce(org: SimulatedOrg, signer: Signer, **claims: Any) -> Proof:
    """Return a proof for the token endpoint with the required nonce."""
    good = {"nonce": org.oauth.proofs.nonce}
    return Proof(signer.proof("POST", URL, **(good | claims)), "POST", URL)


def test_a_signed_assertion_gets_a_token(org: SimulatedOrg, signer: Signer) -> None:
    """A signed assertion gets a bearer token for an hour, with the requested scope, which can read the System Log."""
    issued = org.oauth.issue(signer.form(URL), PLAIN)
    access = issued.pop("access_token")
    assert issued == {"token_type": "Bearer", "expires_in": 3600, "scope": "okta.logs.read"}
    assert call(org, f"Bearer {access}") == (200, "")


@pytest.mark.parametrize(
    ("claims", "description"),
    [
        ({"iss": "somebody"}, "The issuer and the subject of client_assertion must be the client."),
        ({"iss": None}, "The issuer and the subject of client_assertion must be the client."),
        (
            {"sub": "somebody"},
            "Client authentication failed. Either the client or the client credentials are invalid.",
        ),
        (
            {"sub": None},
            "Client authentication failed. Either the client or the client credentials are invalid.",
        ),
        (
            {"aud": LOGS},
            "The audience claim for client_assertion must be the endpoint invoked for the request.",
        ),
        (
            {"aud": None},
            "The audience claim for client_assertion must be the endpoint invoked for the request.",
        ),
        ({"exp": SECONDS}, "The client_assertion token is expired."),
        ({"exp": None}, "The client_assertion token is expired."),
        ({"exp": True}, "The client_assertion token is expired."),
        ({"exp": SECONDS + 3601}, "The client_assertion token has an expiration too far into the future."),
        ({"kid": "k2"}, "The client_assertion JWT kid is invalid."),
    ],
)
def test_an_assertion_with_a_wrong_claim_is_refused(
    org: SimulatedOrg, signer: Signer, claims: dict[str, Any], description: str
) -> None:
    """Each claim is checked, and the error names it."""
    assert refused(org, signer.form(URL, **claims)) == (401, "invalid_client", description)


def test_an_assertion_lasts_at_most_an_hour(org: SimulatedOrg, signer: Signer) -> None:
    """An assertion may last one hour to the second."""
    assert token(org, signer.form(URL, exp=SECONDS + 3600))


def test_an_assertion_needs_the_apps_own_signature(org: SimulatedOrg, signer: Signer) -> None:
    """A foreign, missing, symmetric or damaged signature is refused."""
    form = signer.form(URL)
    claims = {"iss": CLIENT, "sub": CLIENT, "aud": URL, "exp": SECONDS + 300}
    secret = jwt.encode(claims, "s" * 32, algorithm="HS256", headers={"kid": "k1"})
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": "k1"})
    head, body, signature = form["client_assertion"].split(".")
    for bad in (
        Signer().assertion(URL),
        secret,
        unsigned,
        f"{head}.{body}.{signature[::-1]}",
        f"{head}.{body}",
        "no token",
        "",
    ):
        answer = refused(org, form | {"client_assertion": bad})
        assert answer == (401, "invalid_client", "The client_assertion signature is invalid.")


def test_a_single_key_needs_no_id(org: SimulatedOrg, app: ServiceApp, signer: Signer) -> None:
    """An assertion needs a key id only if the app has two keys."""
    assert token(org, signer.form(URL, kid=None))
    app.keys = [signer.public, Signer("k2").public]
    assert token(org, signer.form(URL))
    assert refused(org, signer.form(URL, kid=None))[2] == "The client_assertion JWT kid is invalid."


def test_an_assertion_can_be_used_once(org: SimulatedOrg, app: ServiceApp, signer: Signer) -> None:
    """An assertion can be used once, even if its request is refused for another reason."""
    form = signer.form(URL)
    assert token(org, form)
    assert refused(org, form)[2] == "The client_assertion token has already been used."
    app.dpop = True
    form = signer.form(URL)
    assert refused(org, form)[1] == "invalid_dpop_proof"
    assert refused(org, form)[2] == "The client_assertion token has already been used."


@pytest.mark.parametrize("scope", ["", "okta.users.read", "okta.logs.read okta.users.read"])
def test_only_granted_scopes_are_issued(org: SimulatedOrg, signer: Signer, scope: str) -> None:
    """All requested scopes are granted, or none."""
    assert refused(org, signer.form(URL, scope))[:2] == (400, "invalid_scope")


def test_other_grant_types_are_refused(org: SimulatedOrg, signer: Signer) -> None:
    """Another grant type or a client secret is refused."""
    good = signer.form(URL)
    assert refused(org, good | {"grant_type": "password"})[:2] == (400, "unsupported_grant_type")
    del good["client_assertion"]
    assert "private_key_jwt" in refused(org, good | {"client_secret": "x"})[2]
    assert "private_key_jwt" in refused(org, signer.form(URL) | {"client_assertion_type": "other"})[2]


def test_tokens_expire_and_can_be_revoked(
    org: SimulatedOrg, app: ServiceApp, signer: Signer, clock: Clock
) -> None:
    """An expired or revoked token causes a 401, by the org's clock."""
    app.lifetime = timedelta(minutes=5)
    access = token(org, signer.form(URL))
    clock.time = NOW + timedelta(seconds=299)
    assert call(org, f"Bearer {access}") == (200, "")
    clock.time = NOW + timedelta(seconds=300)
    assert call(org, f"Bearer {access}") == (401, "E0000011")
    fresh = token(org, signer.form(URL, exp=SECONDS + 600))
    assert call(org, f"Bearer {fresh}") == (200, "")
    org.oauth.revoke()
    assert call(org, f"Bearer {fresh}") == (401, "E0000011")


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", "bearer {}", "SSWS {}", "DPoP {}", "{}", "Bearer  {}"]
)
def test_a_bearer_token_needs_the_bearer_scheme(org: SimulatedOrg, signer: Signer, header: str) -> None:
    """A token in another header causes a 401."""
    access = token(org, signer.form(URL))
    assert call(org, header.format(access)) == (401, "E0000011")


def test_an_app_needs_a_role_and_a_scope(org: SimulatedOrg, app: ServiceApp, signer: Signer) -> None:
    """An app needs an admin role in addition to the scope, and a token with another scope can't read the System Log."""
    app.scopes = frozenset({"okta.logs.read", "okta.users.read"})
    other, access = token(org, signer.form(URL, "okta.users.read")), token(org, signer.form(URL))
    assert call(org, f"Bearer {other}") == (403, "E0000015")
    app.can_read_logs = org.can_read_logs = False
    assert call(org, f"Bearer {access}") == (403, "E0000006")
    assert call(org, f"SSWS {org.token}") == (403, "E0000006")


def test_refusals_have_the_reason_in_a_header(org: SimulatedOrg) -> None:
    """A refusal has the header that RFC 6750 requires."""
    with pytest.raises(OktaError) as refusal:
        authorize(org, "Bearer x", Proof(None, "GET", LOGS))
    assert refusal.value.headers["WWW-Authenticate"] == (
        'Bearer authorization_uri="http://127.0.0.1:8080/oauth2/v1/authorize", realm="http://127.0.0.1:8080", '
        'scope="okta.logs.read", error="invalid_token", error_description="The access token is invalid.", '
        'resource="/api/v1/logs"'
    )


def test_an_app_can_require_proofs(org: SimulatedOrg, app: ServiceApp, signer: Signer) -> None:
    """A request is refused without a proof, challenged without the nonce, and answered with both."""
    app.dpop = True
    assert refused(org, signer.form(URL)) == (
        400,
        "invalid_dpop_proof",
        "The DPoP proof JWT header is missing.",
    )
    holder = Signer()
    with pytest.raises(OAuthError) as refusal:
        org.oauth.issue(signer.form(URL), Proof(holder.proof("POST", URL), "POST", URL))
    assert (refusal.value.code, refusal.value.summary) == (
        "use_dpop_nonce",
        "Authorization server requires nonce in DPoP proof.",
    )
    issued = org.oauth.issue(
        signer.form(URL),
        Proof(holder.proof("POST", URL, nonce=refusal.value.headers["dpop-nonce"]), "POST", URL),
    )
    assert issued["token_type"] == "DPoP"
    access = issued["access_token"]
    assert call(org, f"DPoP {access}", holder.proof("GET", LOGS, token=access)) == (200, "")


def test_a_proof_binds_the_token_even_where_none_is_required(org: SimulatedOrg, signer: Signer) -> None:
    """A token that was requested with a proof works only with the same key."""
    assert org.oauth.issue(signer.form(URL), proof_with_nonce(org, signer))["token_type"] == "DPoP"


@pytest.mark.parametrize(
    "claims",
    [
        {"htm": "GET"},
        {"htu": LOGS},
        {"iat": SECONDS - 301},
        {"iat": SECONDS + 301},
        {"iat": None},
        {"jti": None},
        {"jti": ""},
    ],
)
def test_a_proof_is_for_one_request(org: SimulatedOrg, signer: Signer, claims: dict[str, Any]) -> None:
    """A proof is refused unless its method, URL, time and id fit the request."""
    status, code, description = refused(org, signer.form(URL), proof_with_nonce(org, signer, **claims))
    (name,) = claims
    assert (status, code) == (400, "invalid_dpop_proof")
    assert description == f"'{name}' claim in the DPoP proof JWT is invalid."


def test_a_proof_can_be_used_once(org: SimulatedOrg, signer: Signer) -> None:
    """A repeated proof is refused."""
    proof = proof_with_nonce(org, signer)
    assert token(org, signer.form(URL), proof)
    assert refused(org, signer.form(URL), proof)[2] == "The DPoP proof JWT has already been used."


def test_a_proof_must_be_valid(org: SimulatedOrg, signer: Signer) -> None:
    """A proof must have its type, and be signed by the public key in its header."""
    nonce = org.oauth.proofs.nonce
    good = {"jti": "1", "htm": "POST", "htu": URL, "iat": SECONDS, "nonce": nonce}
    public = signer.public
    for bad in (
        signer.sign(good, typ="JWT", jwk=public),
        signer.sign(good, typ="dpop+jwt"),
        signer.sign(good, typ="dpop+jwt", jwk=Signer().public),
        signer.sign(good, typ="dpop+jwt", jwk=public | {"d": "private"}),
        signer.sign(good, typ="dpop+jwt", jwk={"kty": "oct", "k": "c2VjcmV0"}),
        jwt.encode(good, "s" * 32, algorithm="HS256", headers={"typ": "dpop+jwt", "jwk": public}),
        "no token",
    ):
        answer = refused(org, signer.form(URL), Proof(bad, "POST", URL))
        assert answer == (400, "invalid_dpop_proof", "The DPoP proof JWT is invalid.")
    assert token(org, signer.form(URL), Proof(signer.sign(good, typ="dpop+jwt", jwk=public), "POST", URL))


def test_a_nonce_lasts_a_day(org: SimulatedOrg, signer: Signer, clock: Clock) -> None:
    """A nonce is replaced after a day, or when the test asks for it."""
    old = org.oauth.proofs.nonce
    clock.time += timedelta(hours=23)
    assert org.oauth.proofs.nonce == old
    clock.time += timedelta(hours=1)
    form = signer.form(URL, exp=SECONDS + 90_000)
    assert (
        refused(org, form, proof_with_nonce(org, signer, nonce=old, iat=SECONDS + 86_400))[1]
        == "use_dpop_nonce"
    )
    current = org.oauth.proofs.nonce
    org.oauth.proofs.renew_nonce()
    assert len({old, current, org.oauth.proofs.nonce}) == 3


def test_a_bound_token_needs_its_key_each_time(org: SimulatedOrg, signer: Signer) -> None:
    """A missing, foreign, old or unsuitable proof causes a 400."""
    holder = Signer()
    access, other = (token(org, signer.form(URL), proof_with_nonce(org, holder)) for _ in range(2))
    good = holder.proof("GET", LOGS, token=access)
    assert call(org, f"DPoP {access}", good) == (200, "")
    for proof in (
        None,
        good,
        Signer().proof("GET", LOGS, token=access),
        holder.proof("GET", LOGS, token=other),
        holder.proof("GET", LOGS),
        holder.proof("POST", LOGS, token=access),
        holder.proof("GET", URL, token=access),
        holder.proof("GET", LOGS, token=access, iat=SECONDS - 400),
    ):
        assert call(org, f"DPoP {access}", proof) == (400, "invalid_dpop_proof")
    assert call(org, f"Bearer {access}", holder.proof("GET", LOGS, token=access)) == (
        400,
        "invalid_dpop_proof",
    )


def test_a_refused_proof_is_reported_in_a_header_alone(org: SimulatedOrg, signer: Signer) -> None:
    """The answer to a refused proof has the reason in a header, and an empty body."""
    access = token(org, signer.form(URL), proof_with_nonce(org, signer))
    with pytest.raises(OktaError) as refusal:
        authorize(org, f"DPoP {access}", Proof(None, "GET", LOGS))
    assert refusal.value.body() == b""
    header = refusal.value.headers["WWW-Authenticate"]
    assert header.startswith('DPoP algs="RS256 RS384 RS512 ES256 ES384 ES512", authorization_uri="http://127')
    assert 'error="invalid_dpop_proof", error_description="The DPoP proof JWT header is missing."' in header


def test_a_thumbprint_is_that_of_the_standard() -> None:
    """The thumbprint of RFC 7638's example is right, with any further members."""
    key = {
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCi"
        "FV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d"
        "0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-cs"
        "FCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29",
    }
    assert thumbprint(key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_used_ids_are_forgotten_when_their_tokens_have_expired() -> None:
    """Used ids are kept until their tokens expire, so memory stays small."""
    used = SingleUseIds()
    assert [used.use("a", 10, now) for now in (0, 5, 10)] == [True, False, False]
    assert used.use("b", 30, 11)
    assert used.use("a", 30, 12)
    assert len(used._until) == 2
