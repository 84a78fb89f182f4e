"""From values to columns of the declared types."""

from __future__ import annotations

from binascii import hexlify
from functools import cache
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.transform.shapes import Shape

_EPOCH = pa.scalar(0, pa.date32())
#: The years 1 to 9999, in Unix seconds. (Scalars of a known type: Arrow looks for a package whenever it has to guess.)
_FIRST, _LAST = (pa.scalar(second, pa.int64()) for second in (-62_135_596_800, 253_402_300_799))
_NONE = pa.scalar(None, pa.int64())
_NULL = msgspec.Raw(b"null")


def table(name: str, columns: Mapping[str, Sequence[Any] | pa.Array]) -> pa.Table:
    """Put columns into the declared table; those not given are NULL."""
    declared = schema.TABLES[name].columns
    rows = len(next(iter(columns.values())))
    if not rows:
        return _empty(name)
    return pa.Table.from_arrays(
        [_array(columns.get(field.name), field.type, rows) for field in declared], schema=declared
    )


@cache
def _empty(name: str) -> pa.Table:
    """Return a table without rows: of a small segment most are, and making each anew took a third of its time."""
    return schema.TABLES[name].columns.empty_table()


def _array(values: Sequence[Any] | pa.Array | None, kind: pa.DataType, rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(rows, kind)
    return values if isinstance(values, pa.Array) else pa.array(values, kind)


def fields(shapes: Sequence[Shape], *names: str, prefix: str = "") -> dict[str, list[Any]]:
    """Return fields as columns of the same names."""
    return {prefix + name: list(map(attrgetter(name), shapes)) for name in names}


def texts(shapes: Sequence[Shape], *names: str) -> dict[str, list[bytes | None]]:
    """Return JSON fields as columns of the same names; a JSON null is NULL."""
    # Most are absent or null: making bytes of those as well took twice the time.
    return {name: [bytes(raw) if raw and raw != _NULL else None for raw in _raw(shapes, name)] for name in names}


def _raw(shapes: Sequence[Shape], name: str) -> Iterator[msgspec.Raw]:
    return map(attrgetter(name), shapes)


def extra(shapes: Sequence[Shape]) -> dict[str, list[str | None]]:
    """Return what no field takes, as the column ``extra``."""
    return {"extra": [shape.extra or None for shape in shapes]}


def views(values: pa.ChunkedArray) -> list[memoryview]:
    """Return binary values without copying them, none of which is missing."""
    array = values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()  # which copies, even one alone
    _, bounds, data = array.buffers()
    offsets = pa.Array.from_buffers(pa.int32(), len(array) + 1, [None, bounds], offset=array.offset).to_pylist()
    text = memoryview(data or b"")
    return [text[start:end] for start, end in pairwise(offsets)]


def hexadecimal(digests: pa.ChunkedArray) -> pa.Array:
    """Write binary values of one size as lowercase digits."""
    array = digests.combine_chunks()
    size, values = array.type.byte_width, array.buffers()[1]
    text = hexlify(memoryview(values)[array.offset * size : (array.offset + len(array)) * size]) if len(array) else b""
    return pa.Array.from_buffers(pa.binary(2 * size), len(array), [None, pa.py_buffer(text)]).cast(schema.TEXT)


def timestamps(seconds: pa.Array) -> pa.Array:
    """Turn Unix seconds into timestamps; a second outside the years 1 to 9999 is NULL."""
    usable = pc.and_(pc.greater_equal(seconds, _FIRST), pc.less_equal(seconds, _LAST))
    return pc.if_else(usable, seconds, _NONE).cast(pa.timestamp("s", "UTC")).cast(schema.TIMESTAMP)


def dates(times: pa.Array) -> pa.Array:
    """Return the UTC date of timestamps; 1970-01-01 for NULL."""
    return times.cast(pa.date32()).fill_null(_EPOCH)
