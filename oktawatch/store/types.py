"""Column types whose values are the same in Python on both databases."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, TIMESTAMP, Dialect, String
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeDecorator, TypeEngine

from oktawatch.model.severity import Severity
from oktawatch.model.timestamps import from_text, to_text


class Moment(TypeDecorator[datetime]):
    """A point in time: ``timestamptz`` on Postgres. On SQLite, canonical text in milliseconds, which sorts by time."""

    impl = String(24)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the column's type."""
        return dialect.type_descriptor(TIMESTAMP(timezone=True) if _is_postgres(dialect) else String(24))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Convert a value for the database."""
        return value if value is None or _is_postgres(dialect) else to_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Convert a value from the database."""
        if value is None:
            return None
        return value.astimezone(UTC) if _is_postgres(dialect) else from_text(value)


class SeverityName(TypeDecorator[Severity]):
    """A severity, stored by name."""

    impl = String(8)
    cache_ok = True

    def process_bind_param(self, value: Severity | None, dialect: Dialect) -> str | None:  # noqa: ARG002 -- the signature is SQLAlchemy's
        """Convert a value for the database."""
        return None if value is None else value.name

    def process_result_value(self, value: str | None, dialect: Dialect) -> Severity | None:  # noqa: ARG002 -- the signature is SQLAlchemy's
        """Convert a value from the database."""
        return None if value is None else Severity[value]


class Document(TypeDecorator[Any]):
    """A JSON value: ``jsonb`` on Postgres, JSON text on SQLite."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the column's type."""
        if not _is_postgres(dialect):
            return dialect.type_descriptor(JSON())
        from sqlalchemy.dialects.postgresql import JSONB  # noqa: PLC0415 -- slow, and not needed for SQLite

        return dialect.type_descriptor(JSONB())

    def coerce_compared_value(self, op: OperatorType | None, value: Any) -> Any:
        """Return the type of a value that is used with the column in an expression: text for the key in ``column[key]``, for example."""
        return JSON().coerce_compared_value(op, value)


def _is_postgres(dialect: Dialect) -> bool:
    return dialect.name == "postgresql"
