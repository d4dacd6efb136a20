"""Who may ask: an API token, sent as `Authorization: SSWS <token>`."""

import hmac
import secrets


def new_token() -> str:
    """Return a token of the shape that Okta's have: `00` and forty more characters."""
    return "00" + secrets.token_urlsafe(30)


def is_authorized(header: str | None, token: str) -> bool:
    """Tell whether an Authorization header carries the token.

    The scheme and its one space are part of it: Okta refuses `SSWS<token>`, which some clients send.
    """
    return header is not None and hmac.compare_digest(
        header.encode(errors="surrogateescape"), f"SSWS {token}".encode()
    )
