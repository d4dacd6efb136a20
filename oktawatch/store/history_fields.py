"""Encode history rows: the columns after the key are one JSON array, each at a fixed index."""

import msgspec

from oktawatch.model.history import COLUMNS, HistoryRow

KEY = ("published", "uuid")
"""A row's key, without the org. Each part has a column of its own in the table."""
PLACES = {name: place for place, name in enumerate(COLUMNS[len(KEY) :])}
"""The index of every other column in the array. New columns are only ever appended, so stored arrays stay valid."""

_values, _encode, _decode = msgspec.structs.astuple, msgspec.json.encode, msgspec.json.Decoder().decode


def encode_fields(row: HistoryRow) -> str:
    """Return a row's array as JSON."""
    return _encode(_values(row)[len(KEY) : len(COLUMNS)]).decode()


def decode_row(published: str, uuid: str, fields: str) -> HistoryRow:
    """Return the row with this key and array.

    Columns that an older array lacks are None. Further values of a newer version are ignored.
    """
    return HistoryRow(published, uuid, *_decode(fields)[: len(PLACES)])
