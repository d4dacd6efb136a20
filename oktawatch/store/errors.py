"""What can be wrong with the database, said for people."""


class StoreError(Exception):
    """The database can't do what was asked. The message says what, where and how to mend it."""


class SchemaError(StoreError):
    """The database's schema is not the one this program works with."""


class StoppedError(StoreError):
    """The program is stopping, and the transaction had not begun yet: nothing was done."""


class CursorMovedError(StoreError):
    """Another writer moved the cursor since it was read; the page was rolled back whole."""
