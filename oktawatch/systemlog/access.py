"""What it takes to read one org."""

import re
from dataclasses import dataclass, field

_HEADER_TEXT = re.compile(r"[!-~]+").fullmatch


@dataclass(frozen=True)
class OrgAccess:
    """An Okta org and the credentials that read its System Log."""

    name: str
    """What oktawatch calls it."""
    url: str
    """Scheme and host, such as ``https://acme.okta.com``; settings have checked it."""
    token: str = field(repr=False)
    """An API token (Okta: the SSWS scheme)."""

    def __post_init__(self) -> None:
        """Refuse a token that no header can carry; its text stays unsaid."""
        if not _HEADER_TEXT(self.token):
            raise ValueError(f"the token of org {self.name} is empty or holds spaces or control characters")
        object.__setattr__(self, "url", self.url.rstrip("/"))
