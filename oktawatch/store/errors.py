"""What can be wrong with the database, said for people."""


class StoreError(Exception):
    """The database can't do what was asked. The message says what, where and how to mend it."""


class MissingDatabaseError(StoreError):
    """There is no SQLite file where one is looked for, and this command makes none."""


class WriteFailedError(StoreError):
    """The disk did not take what was written: it is full, or it fails."""


class UnusableDatabaseError(StoreError):
    """The program can't go on with this database: it would lose what it writes, or do harm."""


class DatabaseReplacedError(UnusableDatabaseError):
    """The database's file was deleted or replaced while the program had it open."""


class DamagedDatabaseError(UnusableDatabaseError):
    """The database's file is malformed: only a person can mend it."""


class SchemaError(StoreError):
    """The database's schema is not the one this program works with."""


class NewerSchemaError(SchemaError):
    """A newer program made the schema: this one must not touch it."""


class StoppedError(StoreError):
    """The program is stopping, and the transaction had not begun yet: nothing was done."""


class CursorMovedError(StoreError):
    """Another writer moved the cursor since it was read; the page was rolled back whole."""
