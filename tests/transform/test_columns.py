"""Binary values become what is made of them, whatever part of an Arrow array they are."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline.transform.columns import hexadecimal, views

BODIES = pa.array([b"one", b"", b"\x00\xff", b"four"])
DIGESTS = pa.array([bytes([number] * 32) for number in range(4)], pa.binary(32))


def parts(array):
    """Name a whole array, parts of it, none of it, and several together."""
    return {
        "whole": pa.chunked_array([array]),
        "end": pa.chunked_array([array.slice(2)]),
        "middle": pa.chunked_array([array.slice(1, 2)]),
        "nothing": pa.chunked_array([array.slice(4)]),
        "no chunk": pa.chunked_array([], array.type),
        "chunks": pa.chunked_array([array.slice(3), array.slice(0, 2)]),
    }


@pytest.mark.parametrize("part", parts(BODIES))
def test_views_are_the_values(part):
    """Each is what Arrow itself says that it is, in its place."""
    values = parts(BODIES)[part]
    assert list(map(bytes, views(values))) == values.to_pylist()


@pytest.mark.parametrize("part", parts(DIGESTS))
def test_digests_are_written_as_everybody_writes_them(part):
    """Two lowercase digits for each byte, as text."""
    values = parts(DIGESTS)[part]
    written = hexadecimal(values)
    assert (written.type, written.to_pylist()) == (pa.string(), [digest.hex() for digest in values.to_pylist()])
