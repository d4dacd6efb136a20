"""The base of every table of the configuration."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the configuration. Immutable, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    def has_secret(self, secret: str) -> bool:
        """Return whether a secret is set, directly or as a file. The file may not have been read."""
        return getattr(self, secret) is not None or getattr(self, f"{secret}_file") is not None
