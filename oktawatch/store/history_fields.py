"""How a history row is stored: the columns after its key as one JSON array, each at a fixed place."""

import msgspec

from oktawatch.model.history import COLUMNS, HistoryRow

KEY = ("published", "uuid")
"""The columns that are, with the org, a row's key: they are columns of the table."""
PLACES = {name: place for place, name in enumerate(COLUMNS[len(KEY) :])}
"""The place of every other column in the array. Columns are only ever appended: stored arrays stay as they are."""

_values, _encode, _decode = msgspec.structs.astuple, msgspec.json.encode, msgspec.json.Decoder().decode


def encode_fields(row: HistoryRow) -> str:
    """Return a row's array as JSON."""
    return _encode(_values(row)[len(KEY) : len(COLUMNS)]).decode()


def decode_row(published: str, uuid: str, fields: str) -> HistoryRow:
    """Return the row with this key and array.

    An older, shorter array leaves later columns empty. The further values of an array that a newer version
    stored are ignored.
    """
    return HistoryRow(published, uuid, *_decode(fields)[: len(PLACES)])
