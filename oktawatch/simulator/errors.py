"""Okta's error answers: a status, a code and a sentence, in the body that every Okta API shares."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(eq=False)
class OktaError(Exception):
    """A request that the org refuses."""

    status: int
    code: str
    summary: str
    causes: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        """Return the JSON body (Okta: errorCode, errorSummary, errorLink, errorId, errorCauses)."""
        return json.dumps(
            {
                "errorCode": self.code,
                "errorSummary": self.summary,
                "errorLink": self.code,
                "errorId": "oae" + secrets.token_urlsafe(16),
                "errorCauses": [{"errorSummary": cause} for cause in self.causes],
            },
        ).encode()


class OAuthError(OktaError):
    """A token request that is refused, in OAuth's own shape."""

    def body(self) -> bytes:
        """Return the JSON body (RFC 6749: error, error_description)."""
        return json.dumps({"error": self.code, "error_description": self.summary}).encode()


class ChallengeError(OktaError):
    """A request whose sender proves nothing: all that is said stands in `WWW-Authenticate`."""

    def body(self) -> bytes:
        """Return nothing."""
        return b""


def invalid(name: str, cause: str) -> OktaError:
    """Return the refusal of a parameter's value."""
    return OktaError(400, "E0000001", f"Api validation failed: {name}", (f"{name}: {cause}",))


def invalid_filter(cause: str) -> OktaError:
    """Return the refusal of a filter expression."""
    return OktaError(400, "E0000031", f"Invalid search criteria. {cause}")


def too_old(cause: str) -> OktaError:
    """Return the refusal of a `since` that lies further back than Okta looks."""
    return OktaError(400, "E0000053", f"Invalid since parameter. {cause}")


def invalid_paging() -> OktaError:
    """Return the refusal of an `after` that this API did not make, or has forgotten."""
    return OktaError(400, "E0000029", "Invalid paging request.", ("Invalid cursor.",))


def invalid_token() -> OktaError:
    """Return the refusal of credentials."""
    return OktaError(401, "E0000011", "Invalid token provided")


def no_feature() -> OktaError:
    """Return the refusal of a token without the scope."""
    return OktaError(403, "E0000015", "You do not have permission to access the feature you are requesting")


def no_permission() -> OktaError:
    """Return the refusal of somebody who is known but lacks the permission."""
    return OktaError(403, "E0000006", "You do not have permission to perform the requested action")


def not_found(path: str) -> OktaError:
    """Return the answer for a path that this org does not have."""
    return OktaError(404, "E0000007", f"Not found: Resource not found: {path} (Endpoint)")


def not_allowed(allowed: str) -> OktaError:
    """Return the answer for a method that is not the endpoint's."""
    return OktaError(
        405,
        "E0000022",
        "The endpoint does not support the provided HTTP method",
        headers={"Allow": allowed},
    )


def too_many_requests() -> OktaError:
    """Return the answer for a request over the rate limit."""
    return OktaError(429, "E0000047", "API call exceeded rate limit due to too many requests.")


def internal() -> OktaError:
    """Return the answer for a fault of Okta's own; a query that takes it over 30 seconds ends like this too."""
    return OktaError(500, "E0000009", "Internal Server Error")


def read_only() -> OktaError:
    """Return the answer of an org that is being serviced."""
    return OktaError(503, "E0000010", "Service is in read only mode")
