"""Everything that a data folder says, store by store and uncompressed: where to look for what must be nowhere.

Who looks must first find something: ``look`` fails unless every store shows the control value that it is known to hold.
"""

from __future__ import annotations

import base64
import json
import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.parquet as pq

from pipeline.folder import DataFolder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

#: Most of a small DuckDB file.
_ZEROS = re.compile(rb"\0{2,}")
#: A string in JSON text that was written with escapes.
_ESCAPED = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)+"', re.DOTALL)
_TABLES = "SELECT table_name FROM duckdb_tables()"
_CATALOG = [f"duckdb_{kind}() WHERE NOT internal" for kind in ("tables", "columns", "views")]


def look(data: Path, needles: Iterable[str], controls: Mapping[str, str]) -> dict[str, set[str]]:
    """Say in which stores each needle is, in any of its forms; ``controls`` name by store a value that is there."""
    stores = everything(data)
    assert controls.keys() == stores.keys()
    assert {store for store, value in controls.items() if not _is_in(value, stores[store])} == set()
    return {needle: {store for store, text in stores.items() if _is_in(needle, text)} for needle in needles}


def everything(data: Path) -> dict[str, bytes]:
    """Return by store what it says: values, however nested, decoded; what describes them; and the bytes themselves."""
    folder = DataFolder(data)
    segments, dataset = sorted(folder.archive.rglob("*.parquet")), sorted(folder.parquet.rglob("*.parquet"))
    paths = sorted(data.rglob("*"))
    files = {path: _ZEROS.sub(b"\0", path.read_bytes()) for path in paths if path.is_file()}
    blobs = [content for path, content in files.items() if folder.blobs in path.parents]
    return {
        "archive": _joined(value for path in segments for value in _rows(path)),
        "archive, described": _joined(value for path in segments for value in _description(path)),
        "parquet": _joined(value for path in dataset for value in _rows(path)),
        "parquet, described": _joined(value for path in dataset for value in _description(path)),
        "duckdb": _joined(_tables(folder.warehouse)),
        "duckdb, its blocks": files.pop(folder.warehouse, b""),
        "snapshot": _joined(_tables(folder.snapshot)),
        "snapshot, its blocks": b"".join([files.pop(path) for path in [*files] if path.name == folder.snapshot.name]),
        "blobs": b"\n".join(blobs),
        "names": _joined(str(path.relative_to(data)) for path in paths),
        "other files": b"\n".join(files.values()),
    }


def is_said(needle: str, text: str) -> bool:
    """Tell whether text that somebody reads says the needle, in any of its forms."""
    return _is_in(needle, _joined([text]))


def forms(needle: str) -> list[bytes]:
    """Return what a text may look like: itself, base64 at each of its three places, and the numbers of its bytes."""
    raw = needle.encode()
    shifted = [base64.b64encode(bytes(shift) + raw + bytes(3)) for shift in range(3)]
    cut = [text[4 * bool(shift) : (shift + len(raw)) * 8 // 6] for shift, text in enumerate(shifted)]
    return [raw, *cut, ",".join(map(str, raw)).encode(), ", ".join(map(str, raw)).encode()]


def _is_in(needle: str, text: bytes) -> bool:
    return any(form in text for form in forms(needle))


def _rows(path: Path) -> Iterator[Any]:
    with pq.ParquetFile(path) as file:
        for row in file.read().to_pylist():
            yield from row.values()


def _description(path: Path) -> Iterator[Any]:
    """Yield what a Parquet file says of its columns: key-value metadata, and the statistics of every column chunk."""
    told = pq.read_metadata(path)
    yield told.metadata or {}
    yield str(told.schema)
    for group in range(told.num_row_groups):
        chunks = (told.row_group(group).column(number) for number in range(told.num_columns))
        for chunk in chunks:
            yield chunk.path_in_schema
            if chunk.statistics is not None and chunk.statistics.has_min_max:
                yield from (chunk.statistics.min, chunk.statistics.max)


def _tables(file: Path) -> Iterator[Any]:
    """Yield every value of every table of a DuckDB file, its views, and what the catalog says of all of them."""
    if not file.exists():
        return
    with closing(duckdb.connect(file, read_only=True)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        tables = [name for (name,) in connection.execute(_TABLES).fetchall()]
        for query in (*tables, *_CATALOG):
            yield connection.execute(f"FROM {query}").fetchall()
        yield [connection.execute(f"FROM pragma_storage_info('{name}')").fetchall() for name in tables]


def _joined(values: Iterable[Any]) -> bytes:
    """Put all leaves of nested values together as text; what JSON wrote with escapes is there without them too."""
    leaves = {leaf for value in values for leaf in _leaves(value)}
    text = b"\n".join(leaves)
    return b"\n".join([text, *(_unescaped(match[0]) for match in _ESCAPED.finditer(text))])


def _leaves(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        yield from _leaves(list(value.items()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part)
    elif isinstance(value, bytes):
        yield value
    elif value is not None:
        yield str(value).encode("utf-8", "surrogatepass")


def _unescaped(text: bytes) -> bytes:
    try:
        return str(json.loads(text)).encode("utf-8", "surrogatepass")
    except ValueError:
        return b""
