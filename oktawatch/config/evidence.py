"""The settings of evidence about addresses."""

from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from oktawatch.config.errors import invalid_value
from oktawatch.config.section import Section
from oktawatch.config.validators import (
    AdjustmentName,
    Duration,
    File,
    KindName,
    Levels,
    Name,
    OptionalName,
    Secret,
    SeverityName,
    at_least,
    check_secret_https,
)
from oktawatch.model.anonymizer_kind import AnonymizerKind


def _format_by_name(data: dict[str, Any]) -> Literal["networks", "mmdb"]:
    name = data.get("path") or ""
    if data.get("url") is not None and data.get("url_file") is None:
        # A command that reads no secrets must find the same format, so the URL in a url_file is ignored.
        name = urlsplit(data["url"].get_secret_value()).path
    return "mmdb" if name.endswith(".mmdb") else "networks"


class EvidenceSourceSettings(Section):
    """A file of evidence about addresses, by path or URL."""

    name: Name
    """The name of the source in alerts."""
    path: OptionalName = ""
    """The file: a database, or a list of networks with one CIDR per line or in the first column of a CSV file."""
    url: Annotated[Secret, AfterValidator(check_secret_https)] = None
    """The URL of the file, instead of a path. Secret, because it can contain a licence key or a password."""
    url_file: File = None
    format: Literal["networks", "mmdb"] = Field(default_factory=_format_by_name)
    """The format of the file. Defaults to ``mmdb`` if ``path`` or ``url`` has this ending, otherwise to ``networks``.

    A URL in ``url_file`` is not considered.

    ``mmdb`` is a database: MaxMind Anonymous IP or IPinfo privacy detection."""
    kind: KindName | None = None
    """For networks: their kind of anonymizer."""
    operator: OptionalName = ""
    """For networks: their operator."""

    @model_validator(mode="after")
    def _has_a_path_or_a_url(self) -> "EvidenceSourceSettings":
        if self.path and self.has_secret("url"):
            key = "url" if self.url_file is None else "url_file"
            raise invalid_value(key, expected="expected path or url, not both")
        if not self.path and not self.has_secret("url"):
            raise invalid_value("path", expected="expected path or url", what="missing key")
        return self

    @model_validator(mode="after")
    def _describes_networks(self) -> "EvidenceSourceSettings":
        if self.format == "networks" and self.kind is None:
            expected = f"expected the kind of the networks, one of {', '.join(AnonymizerKind)}"
            raise invalid_value("kind", expected=expected, what="missing key")
        if self.format == "mmdb" and (self.kind is not None or self.operator):
            key = "kind" if self.kind is not None else "operator"
            raise invalid_value(
                key, expected="expected this key only for networks, because a database has its own"
            )
        return self


class EvidenceSettings(Section):
    """Evidence about the addresses of anonymizers, in addition to Okta's."""

    refresh: Annotated[Duration, at_least(timedelta(minutes=10))] = timedelta(hours=24)
    """The time after which the daemon fetches a source with a URL again."""
    sources: Annotated[tuple[EvidenceSourceSettings, ...], Field(strict=False)] = ()
    operators: dict[str, KindName] = Field(default_factory=dict)
    """The kinds of operators, by Okta's names. Overrides the shipped table."""
    severity: Annotated[dict[KindName, SeverityName], Field(strict=False)] = Field(default_factory=dict)
    """The severities of kinds. Overrides the shipped table."""
    adjustments: Annotated[dict[AdjustmentName, Levels], Field(strict=False)] = Field(default_factory=dict)
    """The number of levels by which each condition changes the severity. Overrides the shipped table; 0 turns a condition off."""
