"""Bodies far larger than what they stand for: a page with one huge row, and the same as a gzip bomb."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MEGABYTE = 2**20
_FILLER = b"x" * MEGABYTE
_BEFORE, _AFTER = b'"padding":"', b'"'
_GZIP = 31  # zlib's wbits for a gzip header and trailer


def padded(page: bytes, megabytes: int) -> Iterator[bytes]:
    """Yield a page in pieces, its first row grown by so many megabytes; the page itself, where it has no row."""
    start = max(page.find(b"{", 1), 0) + 1
    comma = b"" if page[start : start + 1] == b"}" else b","
    yield page[:start] + _BEFORE
    for _ in range(megabytes):
        yield _FILLER
    yield _AFTER + comma + page[start:]


def padded_size(page: bytes, megabytes: int) -> int:
    """Return the length of what ``padded`` yields."""
    return sum(map(len, padded(page, 0))) + megabytes * MEGABYTE


def bomb(page: bytes, megabytes: int) -> bytes:
    """Return the padded page compressed to about a thousandth."""
    packer = zlib.compressobj(wbits=_GZIP)
    return b"".join(map(packer.compress, padded(page, megabytes))) + packer.flush()
