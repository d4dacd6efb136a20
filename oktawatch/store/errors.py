"""Errors of the database, with messages for users."""


class StoreError(Exception):
    """A database operation failed."""


class MissingDatabaseError(StoreError):
    """The SQLite file does not exist, and this command does not create it."""


class WriteFailedError(StoreError):
    """A write failed because the disk is full or faulty, or because the database can only be read."""


class UnusableDatabaseError(StoreError):
    """The program must not continue with this database, because it would lose or damage data."""


class DatabaseReplacedError(UnusableDatabaseError):
    """The database's file was deleted or replaced while the program had it open."""


class DamagedDatabaseError(UnusableDatabaseError):
    """The database's file is malformed and must be restored or replaced by a person."""


class SchemaError(StoreError):
    """The database's schema is not the version that this program needs."""


class NewerSchemaError(SchemaError):
    """The schema is newer than this program, which must not change it."""


class StoppedError(StoreError):
    """The program is stopping. The transaction was abandoned, before it began or in the middle."""


class CursorMovedError(StoreError):
    """Another writer has moved the cursor since the page was requested. The page was rolled back."""

    reason = "cursor_moved"
