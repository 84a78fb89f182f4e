"""Completions that people saved before: JSON lines, pages, folders of them, and columns of Parquet files.

Each is read as the text that it is; a line of the output of a batch holds its completion inside. What is no completion
is skipped, counted and named, never shown.
"""

from __future__ import annotations

import gzip
import re
import zlib
from typing import TYPE_CHECKING, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import jsontext
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_LINES = (".jsonl", ".ndjson")
_JSON = (*_LINES, ".json")
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
_BOM = b"\xef\xbb\xbf"
#: What is looked at of a JSON object.
_KEYS = frozenset({b'"id"', b'"object"', b'"data"', b'"choices"', b'"custom_id"', b'"response"', b'"body"'})
#: A name that may be shown: an ``object`` of the API, and no content.
_NAME = re.compile(rb'"[a-z][a-z0-9._]{0,63}"')
_BROKEN = (OSError, EOFError, zlib.error)
#: Rows of a Parquet file in memory at a time.
_ROWS = 1000


class Saved:
    """Yields each saved completion, byte for byte; what was skipped is in ``skipped``, as place and reason."""

    def __init__(self, path: Path, *, column: str | None = None) -> None:
        self._path = path
        self._column = column
        self.skipped: list[tuple[str, str]] = []

    def __iter__(self) -> Iterator[bytes]:
        """Read everything; raises UsageError for a file that is none of the known kinds."""
        for path in self._files():
            for where, text in self._texts(path):
                yield from self.completions_in(text, where)

    def completions_in(self, text: bytes, where: str) -> Iterator[bytes]:
        """Yield the completions of one JSON text: one, a page of them, or an array."""
        text = text.strip(b" \t\r\n")
        if not text:
            return
        try:
            for body in _unpacked(text):
                if why_not := _why_not(body):
                    self.skipped.append((where, why_not))
                else:
                    yield body
        except jsontext.NotJSONError:
            self.skipped.append((where, "no JSON of a completion"))

    def _files(self) -> list[Path]:
        if not self._path.is_dir():
            return [self._path]
        found = sorted(path for path in self._path.rglob("*") if path.is_file() and _ending(path) in _JSON)
        if not found:
            raise UsageError(
                f"{self._path} holds no .json, .jsonl or .ndjson files", hint="name a file, or a folder of them"
            )
        return found

    def _texts(self, path: Path) -> Iterator[tuple[str, bytes]]:
        """Yield each JSON text of a file, and where it stands."""
        if _ending(path) == ".parquet":
            yield from self._of_parquet(path)
        elif _ending(path) in _JSON:
            yield from _of_json(path)
        else:
            raise UsageError(
                f"{path} is none of the files that can be adopted",
                hint="JSON, JSON lines (.gz too), a folder of them, Parquet, or a DuckDB file with --table",
            )

    def _of_parquet(self, path: Path) -> Iterator[tuple[str, bytes]]:
        try:
            with pq.ParquetFile(path) as file:
                name = self._column_of(path, file.schema_arrow)
                number = 0
                for batch in file.iter_batches(_ROWS, columns=[name]):
                    for value in batch.column(0).to_pylist():
                        number += 1
                        yield f"{path}, row {number}", value.encode() if isinstance(value, str) else value or b""
        except (pa.ArrowException, OSError) as error:
            raise UsageError(f"{path} is not a Parquet file: {error}") from error

    def _column_of(self, path: Path, schema: pa.Schema) -> str:
        """Find the column that holds JSON: the one named, or the only one of text."""
        texts = [field.name for field in schema if any(is_text(field.type) for is_text in _TEXTS)]
        wanted = [self._column] if self._column else texts
        if len(wanted) != 1 or wanted[0] not in texts:
            raise UsageError(
                f"{path}: which column holds the JSON of completions?",
                hint=f"name it with --column; columns of text: {', '.join(texts) or 'none'}",
            )
        return wanted[0]


def _unpacked(text: bytes) -> Iterable[bytes]:
    """Return what a page or an array holds, the answer in a line of a batch, or the one that the text is."""
    if text.startswith(b"["):
        return jsontext.elements(text)
    members = _members(text)
    is_page = members.get(b'"object"') == b'"list"' or b'"id"' not in members
    if is_page and b'"data"' in members:
        return jsontext.elements(members[b'"data"'])
    if b'"custom_id"' in members and members.get(b'"response"', b"").startswith(b"{"):
        return [_members(members[b'"response"']).get(b'"body"', text)]
    return [text]


def _members(text: bytes) -> dict[bytes, bytes]:
    """Return the members that are looked at; of equal keys the last counts."""
    return {key: value for key, value in jsontext.members(text) if key in _KEYS}


def _why_not(body: bytes) -> str | None:
    """Say why JSON is no completion; None for one. Azure lists completions whose ``object`` is null."""
    members = _members(body)
    if not _is_text(members.get(b'"id"', b"")):
        return "JSON without an id: no completion"
    told = members.get(b'"object"', b"null")
    if told == b'"chat.completion"' or (told == b"null" and members.get(b'"choices"', b"").startswith(b"[")):
        return None
    if told == b"null":
        return "JSON without choices: no completion"
    return f"{told[1:-1].decode() if _NAME.fullmatch(told) else 'another object'}: no completion"


def _is_text(raw: bytes) -> bool:
    try:
        return bool(jsontext.text(raw))
    except jsontext.NotJSONError:
        return False


def _ending(path: Path) -> str:
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()


def _of_json(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield a file's lines; a file that is one JSON text over many lines, whole."""
    try:
        with _opened(path) as file:
            if _ending(path) in _LINES:
                for number, line in enumerate(file, 1):
                    yield f"{path}, line {number}", line.removeprefix(_BOM) if number == 1 else line
            else:
                yield str(path), file.read().removeprefix(_BOM)
    except _BROKEN as error:
        raise UsageError(f"{path} cannot be read: {error}", hint="adopt it again when it is whole") from error


def _opened(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")
