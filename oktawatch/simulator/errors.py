"""Okta's error answers: a status, a code and a summary, in the format of all Okta APIs."""

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
    """A refused token request, in the format of OAuth."""

    def body(self) -> bytes:
        """Return the JSON body (RFC 6749: error, error_description)."""
        return json.dumps({"error": self.code, "error_description": self.summary}).encode()


class ChallengeError(OktaError):
    """A refused DPoP proof. The reason is in the `WWW-Authenticate` header; the body is empty."""

    def body(self) -> bytes:
        """Return an empty body."""
        return b""


def invalid(name: str, cause: str) -> OktaError:
    """Return the error for an invalid parameter."""
    return OktaError(400, "E0000001", f"Api validation failed: {name}", (f"{name}: {cause}",))


def invalid_filter(cause: str) -> OktaError:
    """Return the error for an invalid filter expression."""
    return OktaError(400, "E0000031", f"Invalid search criteria. {cause}")


def too_old(cause: str) -> OktaError:
    """Return the error for a `since` before the oldest time that Okta accepts."""
    return OktaError(400, "E0000053", f"Invalid since parameter. {cause}")


def invalid_paging() -> OktaError:
    """Return the error for an `after` that is forged, or that the org no longer knows."""
    return OktaError(400, "E0000029", "Invalid paging request.", ("Invalid cursor.",))


def invalid_token() -> OktaError:
    """Return the error for an invalid token."""
    return OktaError(401, "E0000011", "Invalid token provided")


def no_feature() -> OktaError:
    """Return the error for a token without the required scope."""
    return OktaError(403, "E0000015", "You do not have permission to access the feature you are requesting")


def no_permission() -> OktaError:
    """Return the error for a valid token whose owner lacks the permission."""
    return OktaError(403, "E0000006", "You do not have permission to perform the requested action")


def not_found(path: str) -> OktaError:
    """Return the error for an unknown path."""
    return OktaError(404, "E0000007", f"Not found: Resource not found: {path} (Endpoint)")


def not_allowed(allowed: str) -> OktaError:
    """Return the error for a method that the endpoint doesn't support."""
    return OktaError(
        405,
        "E0000022",
        "The endpoint does not support the provided HTTP method",
        headers={"Allow": allowed},
    )


def too_many_requests() -> OktaError:
    """Return the error for a request over the rate limit."""
    return OktaError(429, "E0000047", "API call exceeded rate limit due to too many requests.")


def internal() -> OktaError:
    """Return the error for an internal fault. Okta also sends it when a query takes over 30 seconds."""
    return OktaError(500, "E0000009", "Internal Server Error")


def read_only() -> OktaError:
    """Return the error for an org under maintenance."""
    return OktaError(503, "E0000010", "Service is in read only mode")
